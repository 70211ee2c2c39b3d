"""The lifecycle every model class shares."""
