"""What a language model is made of: one network or two, with weights from somewhere or new ones, and an adapter."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from easytx.core import loading, saving
from easytx.core.base_model import BaseModel
from easytx.errors import ArgumentError, CheckpointError
from easytx.language_modeling import adapters, four_bits, scratch
from easytx.language_modeling.objectives import Causal, Masked, Objective, Replaced

if TYPE_CHECKING:
    import torch

logger = logging.getLogger(__name__)


class LanguageCheckpoint(BaseModel):
    """Configuration, tokenizer and weights of a language model.

    Attributes:
        objective: What it learns.
    """

    may_be_new: ClassVar[bool] = True
    objective: Objective

    def __init__(
        self,
        model_type: str | None,
        model_name: str | Path | None,
        *,
        parts: tuple[str | None, str | None],
        train_files: Any,
        adapter_name: str | None,
        **kwargs: Any,
    ) -> None:
        """Take where the weights come from.

        Args:
            model_type: As for `BaseModel`; "causal" is any model that predicts the next token.
            model_name: As for `BaseModel`; None makes a new model.
            parts: Where an ELECTRA's generator and discriminator come from.
            train_files: What a new vocabulary is learnt from.
            adapter_name: A trained adapter, to be laid over the model.
            **kwargs: As for `BaseModel`.
        """
        named_by_type = model_name is None and train_files is None and not kwargs.get("tokenizer_name")
        if named_by_type and model_type is not None and not scratch.is_architecture(model_type):
            model_type, model_name = None, model_type
        self._given_parts, self._train_files, self._adapter_name = parts, train_files, adapter_name
        self._parts: tuple[str, str] | None = None
        self._part_configs: tuple[Any, Any] | None = None
        self._base: str | None = None
        super().__init__(model_type, model_name, **kwargs)

    @property
    def auto_class(self) -> str:  # type: ignore[override]
        """The Auto class of transformers for the head."""
        return self.objective.auto_class

    @property
    def shifts_labels(self) -> bool:  # type: ignore[override]
        """Whether a token's label is the next token."""
        return self.objective.causal

    def source(self) -> str:
        """Return where configuration, tokenizer and weights come from: of an ELECTRA, where the discriminator does."""
        if self._parts is not None and (self._source is None or not Path(self._source).is_dir()):
            return self._parts[1]
        return super().source()

    def load_config(self, model_type: str | None) -> Any:
        """Return the model's configuration; of an ELECTRA, the discriminator's."""
        args = self.args
        self._base = loading.adapter_base(self._source)
        adapters.check(args, self.device, adapter=self._base is not None or self._adapter_name is not None)
        self._parts = self._parts_named()
        is_new = self._source is None and self._parts is None
        adapters.check_base(args, is_new=is_new, has_parts=self._parts is not None)
        if self._parts is not None or (is_new and model_type == "electra" and args["mlm"]):
            from easytx.language_modeling import electra

            changes = (args["generator_config"], args["discriminator_config"])
            self._part_configs = electra.part_configs(self._parts, changes, self._options)
            self.objective = Replaced()
            return self._part_configs[1]
        config = self._own_config(model_type, is_new=is_new)
        self.objective = self._objective_for(config, model_type)
        if self.objective.causal and _reads_both_ways(config):
            # Otherwise it would see the tokens that it is to predict.
            config.is_decoder = True
        return config

    def load_tokenizer(self) -> Any:
        """Return the tokenizer; of a new model, one with a vocabulary learnt from `train_files` unless it is named."""
        is_new = self._source is None and self._parts is None
        if is_new and self.args.tokenizer_name is None:
            tokenizer = self.new_tokenizer(self._train_files)
        else:
            tokenizer = super().load_tokenizer()
        if is_new:
            self.fit_to(tokenizer)
        if tokenizer.pad_token is None:
            # Padding is never read, so any token will do.
            tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
        if self.config.pad_token_id is None:
            self.config.pad_token_id = tokenizer.pad_token_id
        if tokenizer.mask_token is None and not self.objective.causal:
            raise CheckpointError(f"The tokenizer of '{self._name}' has no mask token. Set mlm=False in args.")
        return tokenizer

    def new_tokenizer(self, train_files: Any) -> Any:
        """Return a tokenizer for this architecture, with a vocabulary learnt from files."""
        masked = not self.objective.causal
        return scratch.new_tokenizer(train_files, model_type=self.config.model_type, args=self.args, masked=masked)

    def fit_to(self, tokenizer: Any) -> None:
        """Set what a new model's configuration has to know of its tokenizer."""
        for config in self._part_configs or (self.config,):
            scratch.fit_config(config, tokenizer)

    def check_new(self) -> None:
        """Raise if the weights belong to a vocabulary already.

        Raises:
            ArgumentError: Saying so.
        """
        if self.trained or self._source is not None or self._parts is not None:
            raise ArgumentError(
                f"The weights of '{self._name}' belong to its own vocabulary. Give use_trained_tokenizer=False to "
                "learn another one, and make a new model with it: model_name=None, tokenizer_name=its folder."
            )

    def take_tokenizer(self, tokenizer: Any) -> None:
        """Have a new model read by this tokenizer."""
        self.fit_to(tokenizer)
        self.tokenizer, self._model = tokenizer, None

    def load_network(self) -> Any:
        """Return the network: in float32, on the CPU; with `qlora` in 4 bits, where it is to be."""
        args, seed = self.args, self.head_seed
        if self._part_configs is not None:
            return self._pair(self._parts, seed)
        if self._source is None:
            return loading.new_network(self.auto_class, self.config, seed=seed)
        network = self._loaded(four_bits.options(args, self.config, self.device, self.precision()))
        if len(self.tokenizer) > network.get_input_embeddings().num_embeddings:
            network.resize_token_embeddings(len(self.tokenizer), mean_resizing=False)
        writing = getattr(network, "generation_config", None)
        if writing is not None and writing.pad_token_id is None:
            writing.pad_token_id = self.tokenizer.pad_token_id
        if four_bits.are_in(network):
            network = four_bits.steadied(network)
        trained = self._source if self._base else self._adapter_name
        if trained or args["peft"] or args["qlora"]:
            network = adapters.with_adapter(network, args, trained=trained, seed=seed)
        if args["loftq_config"] and trained is None:
            four_bits.start_by_loftq(network, self._loaded({}))
        return network

    def _loaded(self, options: Mapping[str, Any]) -> Any:
        name, options = self._base or self.source(), {**self._options, **options}
        return loading.load_weights(self.auto_class, name, self.config, seed=self.head_seed, options=options)

    def write_network(self, folder: Path) -> None:
        """Write weights, configuration and tokenizer; of an ELECTRA the two parts apart, of an adapter it alone."""
        if self._part_configs is None:
            super().write_network(folder)
            return
        self.config.save_pretrained(folder)
        saving.write_tokenizer(self.tokenizer, folder)
        for part in ("generator_model", "discriminator_model"):
            self.write_part(folder, part)

    def write_part(self, folder: Path, part: str) -> None:
        """Write generator or discriminator of an ELECTRA into a folder of its own.

        Raises:
            ArgumentError: If this is no ELECTRA.
        """
        if self._part_configs is None:
            raise ArgumentError(f"A {self.config.model_type} model has no {part}. Use save_model.")
        place = folder / part
        place.mkdir(parents=True, exist_ok=True)
        with loading.quiet():
            getattr(self.model, part).save_pretrained(place)
        saving.write_tokenizer(self.tokenizer, place)

    def take_adapter(self) -> None:
        """Have the weights that were loaded before the arguments asked for an adapter get one.

        Raises:
            ArgumentError: If they have been trained since.
        """
        args, network = self.args, self._model
        adapters.check(args, self.device, adapter=False)
        adapters.check_base(args, is_new=self._source is None, has_parts=self._part_configs is not None)
        lacks_bits = args["qlora"] and not four_bits.are_in(network)
        if network is None or not (lacks_bits or (args["peft"] and not adapters.are_in(network))):
            return
        if self.trained:
            raise ArgumentError(
                "An adapter is saved without the weights under it, and those of this model have been trained since "
                "they were loaded. Save it with save_model, and open that folder with the same arguments."
            )
        self._model = None if lacks_bits else adapters.with_adapter(network, args, trained=None, seed=self.head_seed)

    def merge_adapter(self) -> None:
        """Add the adapter to the weights for good; the model is then one without an adapter, and saved whole.

        Of weights of 4 bits become those of full precision that they stand for.

        Raises:
            ArgumentError: If there is none.
        """
        network = self.model
        if not adapters.are_in(network):
            raise ArgumentError("merge_adapter needs an adapter, but this model has none.")
        if four_bits.are_in(network):
            network = four_bits.in_full(network, self.auto_class)
        self.model = adapters.merged(network)
        self.args = self.args.merged({"peft": False, "qlora": False, "lora_config": {}, "loftq_config": {}})
        self._base = self._adapter_name = None
        # The weights are no longer those of any folder.
        self.trained = True

    def weights_in(self, folder: Path) -> Mapping[str, torch.Tensor]:
        """Return the weights that `write_network` has left in a folder, by the names of the model in memory."""
        if self._part_configs is not None:
            from easytx.language_modeling import electra

            names = electra.part_names(str(folder), None, None)
            state: Mapping[str, torch.Tensor] = self._pair(names, self.head_seed).state_dict()
            return state
        if loading.adapter_base(str(folder)) is not None:
            return adapters.weights_in(folder, self.model)
        return super().weights_in(folder)

    def _pair(self, names: tuple[str, str] | None, seed: int) -> Any:
        from easytx.language_modeling import electra

        args, configs = self.args, self._part_configs
        if configs is None:
            raise RuntimeError("this model has one network")
        weight, tied = args["discriminator_loss_weight"], args["tie_generator_and_discriminator_embeddings"]
        return electra.load_pair(names, configs, weight=weight, tied=tied, seed=seed, options=self._options)

    def _parts_named(self) -> tuple[str, str] | None:
        folder = self._source is not None and (Path(self._source) / "generator_model").is_dir()
        if not folder and self._given_parts == (None, None):
            return None
        from easytx.language_modeling import electra

        return electra.part_names(self._source, *self._given_parts)

    def _own_config(self, model_type: str | None, *, is_new: bool) -> Any:
        args = self.args
        if is_new and args["config_name"] is None:
            return scratch.new_config(model_type, args.config)
        name = loading.resolve_name(args["config_name"]) if args["config_name"] else self._base or self.source()
        config = loading.load_config(name, options=self._options, changes=args.config)
        loading.check_type(None if model_type == "causal" else model_type, config, self._name)
        return config

    def _objective_for(self, config: Any, model_type: str | None) -> Objective:
        """Return what is learnt: as `mlm` says, and where it says nothing, what this architecture can."""
        if model_type == "causal" or not self.args["mlm"]:
            self.args = self.args.merged({"mlm": False})
            objective: Objective = Causal()
        elif not loading.has_head(Masked.auto_class, config) and loading.has_head(Causal.auto_class, config):
            if "mlm" in self.args.given():
                raise CheckpointError(
                    f"'{self._name}' is a {config.model_type} model, which predicts the next token and fills in no "
                    "masked ones. Set mlm=False in args."
                )
            logger.info("A %s model predicts the next token: mlm is False.", config.model_type)
            self.args = self.args.merged({"mlm": False})
            objective = Causal()
        else:
            objective = Masked()
        if not loading.has_head(objective.auto_class, config):
            raise CheckpointError(
                f"'{self._name}' is a {config.model_type} model, for which transformers has no language model "
                f"with mlm={self.args['mlm']}."
            )
        return objective


def _reads_both_ways(config: Any) -> bool:
    """Tell whether an architecture is an encoder, that is a decoder too only if its configuration says so."""
    return hasattr(config, "is_decoder") and loading.has_head(Masked.auto_class, config)
