"""Arguments: declared once, validated, merged."""
