"""Small models of torchvision and transformers, and what the head of each role must be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import transformers as hf
from torch import nn
from torchvision.models import detection, resnet18, segmentation
from torchvision.models.detection.anchor_utils import AnchorGenerator, DefaultBoxGenerator
from torchvision.models.detection.ssdlite import SSDLiteHead


class Case(NamedTuple):
    """A model, how it is called, and the layers of each role."""

    build: Callable[[int], nn.Module]
    inputs: Any
    heads: dict[str, str]
    logits: str | None = None  # the attribute of the output that the classes must equal
    resizes: bool = True  # with the number of classes, the head and nothing else


def images(size: int = 64) -> torch.Tensor:
    return torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0))


IDS = torch.randint(5, 50, (2, 7), generator=torch.Generator().manual_seed(0))
LIST = ([*images()],)


class Backbone(nn.Module):
    """Maps of two sizes, by name."""

    def __init__(self, channels: int, names: tuple[str, str] = ("0", "1")) -> None:
        super().__init__()
        self.out_channels, self.names = channels, names
        self.stem = nn.Sequential(nn.Conv2d(3, channels, 8, 8), nn.ReLU())
        self.down = nn.Sequential(nn.Conv2d(channels, channels, 2, 2), nn.ReLU())

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        x = self.stem(x)
        return dict(zip(self.names, (x, self.down(x)), strict=True))


SIZES: dict[str, Any] = {"min_size": 64, "max_size": 64}
ANCHORS = AnchorGenerator(((8, 12), (16, 24)), ((0.5, 1.0),) * 2)


def retinanet(k: int) -> nn.Module:
    model = detection.RetinaNet(Backbone(8), k, anchor_generator=ANCHORS, **SIZES)
    nn.init.normal_(model.head.classification_head.cls_logits.bias)
    return model


def ssd(k: int, lite: bool = False) -> nn.Module:
    head = SSDLiteHead([8, 8], [4, 6], k, nn.BatchNorm2d) if lite else None
    boxes = DefaultBoxGenerator([[2], [2, 3]])
    backbone = Backbone(8)
    backbone.out_channels = [8, 8]
    return detection.ssd.SSD(backbone, boxes, (64, 64), k, head=head)


def of_regions(kind: Any, **more: Any) -> Callable[[int], nn.Module]:
    def build(k: int) -> nn.Module:
        return kind(
            Backbone(8),
            rpn_anchor_generator=ANCHORS,
            rpn_post_nms_top_n_test=20,
            box_detections_per_img=4,
            box_score_thresh=0.0,
            box_head=detection.faster_rcnn.TwoMLPHead(8 * 49, 16),
            box_predictor=detection.faster_rcnn.FastRCNNPredictor(16, k),
            **SIZES,
            **{name: make(k) for name, make in more.items()},
        )

    return build


def dense(kind: Any, head: Any) -> Callable[[int], nn.Module]:
    return lambda k: kind(Backbone(8, ("out", "low")), head(k))


V: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
}
PATCHES: dict[str, Any] = {**V, "image_size": 32, "patch_size": 8}
TEXT: dict[str, Any] = {**V, "vocab_size": 50, "max_position_embeddings": 32, "pad_token_id": 0}
LLAMA: dict[str, Any] = {**TEXT, "num_key_value_heads": 2, "bos_token_id": 1, "eos_token_id": 2}
FOUR = ["stage1", "stage2", "stage3", "stage4"]
D: dict[str, Any] = {
    "d_model": 32,
    "encoder_layers": 1,
    "decoder_layers": 2,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 16,
    "decoder_ffn_dim": 16,
    "num_queries": 5,
}
GPT2: dict[str, Any] = {
    "vocab_size": 50,
    "n_positions": 32,
    "n_embd": 16,
    "n_layer": 2,
    "n_head": 2,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
WHISPER: dict[str, Any] = {
    "d_model": 16,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 16,
    "decoder_ffn_dim": 16,
    "num_mel_bins": 8,
    "max_source_positions": 16,
    "pad_token_id": 1,
    "bos_token_id": 2,
    "eos_token_id": 3,
    "decoder_start_token_id": 2,
}


def stages() -> dict[str, Any]:
    config = hf.ResNetConfig(
        num_channels=3,
        embedding_size=8,
        hidden_sizes=[8, 16, 16, 16],
        depths=[1] * 4,
        out_features=FOUR[1:],
        layer_type="basic",
    )
    return {
        "backbone": None,  # transformers 4 has one by default
        "use_timm_backbone": False,
        "use_pretrained_backbone": False,
        "backbone_config": config,
    }


def swin() -> Any:
    return hf.SwinConfig(
        embed_dim=8,
        depths=[1] * 4,
        num_heads=[1] * 4,
        window_size=2,
        image_size=64,
        out_features=FOUR,
    )


def rt_detr(k: int) -> nn.Module:
    backbone = hf.RTDetrResNetConfig(
        embedding_size=8,
        hidden_sizes=[8, 16, 16, 16],
        depths=[1] * 4,
        out_features=FOUR[1:],
        layer_type="basic",
    )
    config = hf.RTDetrConfig(
        backbone_config=backbone,
        encoder_hidden_dim=16,
        encoder_in_channels=[16] * 3,
        encoder_ffn_dim=16,
        encoder_attention_heads=2,
        d_model=16,
        num_queries=5,
        decoder_in_channels=[16] * 3,
        decoder_ffn_dim=16,
        decoder_layers=2,
        decoder_attention_heads=2,
        num_denoising=0,
        num_labels=k,
    )
    return hf.RTDetrForObjectDetection(config)


def deformable(k: int, **options: Any) -> nn.Module:
    config = hf.DeformableDetrConfig(
        **stages(), **D, num_feature_levels=3, num_labels=k, two_stage_num_proposals=5, **options
    )
    return hf.DeformableDetrForObjectDetection(config)


def maskformer(k: int) -> nn.Module:
    config = hf.MaskFormerConfig(
        fpn_feature_size=32,
        mask_feature_size=32,
        backbone_config=swin(),
        decoder_config=hf.DetrConfig(**stages(), **D),
        num_labels=k,
    )
    return hf.MaskFormerForInstanceSegmentation(config)


def mask2former(k: int) -> nn.Module:
    config = hf.Mask2FormerConfig(
        feature_size=32,
        mask_feature_size=32,
        hidden_dim=32,
        encoder_feedforward_dim=16,
        dim_feedforward=16,
        encoder_layers=1,
        decoder_layers=2,
        num_attention_heads=2,
        num_queries=5,
        backbone_config=swin(),
        num_labels=k,
    )
    return hf.Mask2FormerForUniversalSegmentation(config)


def upernet(k: int) -> nn.Module:
    backbone = hf.ConvNextConfig(hidden_sizes=[8] * 4, depths=[1] * 4, out_features=FOUR)
    config = hf.UperNetConfig(
        backbone_config=backbone,
        hidden_size=8,
        auxiliary_in_channels=8,
        auxiliary_channels=8,
        num_labels=k,
    )
    return hf.UperNetForSemanticSegmentation(config)


def dpt(kind: Any) -> Callable[[int], nn.Module]:
    def build(k: int) -> nn.Module:
        config = hf.DPTConfig(
            **{**PATCHES, "num_hidden_layers": 4},
            backbone_out_indices=[0, 1, 2, 3],
            neck_hidden_sizes=[8] * 4,
            fusion_hidden_size=8,
            num_labels=k,
        )
        return kind(config)

    return build


def segformer(k: int) -> nn.Module:
    config = hf.SegformerConfig(
        hidden_sizes=[8] * 4,
        depths=[1] * 4,
        num_attention_heads=[1] * 4,
        decoder_hidden_size=8,
        num_labels=k,
    )
    return hf.SegformerForSemanticSegmentation(config)


def of(kind: Any, config: Any, labels: str = "num_labels", **fixed: Any) -> Callable[[int], Any]:
    return lambda k: kind(config(**{**fixed, labels: k}))


def clip(_: int) -> nn.Module:
    text = {**TEXT, "bos_token_id": 1, "eos_token_id": 2}
    return hf.CLIPModel(hf.CLIPConfig(text_config=text, vision_config=PATCHES, projection_dim=8))


SEQ2SEQ = {"input_ids": IDS, "decoder_input_ids": IDS}
T5: dict[str, Any] = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2}
DETR = {"classes": "class_labels_classifier", "boxes": "bbox_predictor.layers.2"}
REGIONS = {
    "classes": "roi_heads.box_predictor.cls_score",
    "boxes": "roi_heads.box_predictor.bbox_pred",
}
DENSE = {
    "classes": "head.classification_head.cls_logits",
    "boxes": "head.regression_head.bbox_reg",
}
VOCABULARY = ("classes", "lm_head")

CASES: dict[str, Case] = {
    "retinanet": Case(retinanet, LIST, DENSE),
    "fcos": Case(
        lambda k: detection.FCOS(
            Backbone(32), k, anchor_generator=AnchorGenerator(((8,), (16,)), ((1.0,),) * 2), **SIZES
        ),
        LIST,
        DENSE,
    ),
    "ssd": Case(
        ssd,
        LIST,
        {
            "classes": "head.classification_head.module_list.0 .1",
            "boxes": "head.regression_head.module_list.0 .1",
        },
    ),
    "ssdlite": Case(
        lambda k: ssd(k, lite=True),
        LIST,
        {
            "classes": "head.classification_head.module_list.0.1 .1.1",
            "boxes": "head.regression_head.module_list.0.1 .1.1",
        },
    ),
    "faster": Case(of_regions(detection.FasterRCNN), LIST, REGIONS, resizes=False),
    "mask": Case(
        of_regions(
            detection.MaskRCNN,
            mask_head=lambda _: detection.mask_rcnn.MaskRCNNHeads(8, (8,), 1),
            mask_predictor=lambda k: detection.mask_rcnn.MaskRCNNPredictor(8, 8, k),
        ),
        LIST,
        {**REGIONS, "masks": "roi_heads.mask_predictor.mask_fcn_logits"},
        resizes=False,
    ),
    "keypoint": Case(
        of_regions(
            detection.KeypointRCNN,
            keypoint_head=lambda _: detection.keypoint_rcnn.KeypointRCNNHeads(8, (8,)),
            keypoint_predictor=lambda _: detection.keypoint_rcnn.KeypointRCNNPredictor(8, 5),
        ),
        LIST,
        {**REGIONS, "keypoints": "roi_heads.keypoint_predictor.kps_score_lowres"},
        resizes=False,
    ),
    "fcn": Case(
        dense(segmentation.FCN, lambda k: segmentation.fcn.FCNHead(8, k)),
        images(),
        {"classes": "classifier.4"},
    ),
    "deeplab": Case(
        dense(segmentation.DeepLabV3, lambda k: segmentation.deeplabv3.DeepLabHead(8, k, (2,))),
        images(),
        {"classes": "classifier.4"},
    ),
    "lraspp": Case(
        lambda k: segmentation.LRASPP(Backbone(8, ("low", "high")), 8, 8, k, 8),
        images(),
        {"classes": "classifier.low_classifier classifier.high_classifier"},
    ),
    "resnet": Case(lambda k: resnet18(num_classes=k), images(), {"classes": "fc"}),
    "hf vit": Case(
        of(hf.ViTForImageClassification, hf.ViTConfig, **PATCHES),
        images(32),
        {"classes": "classifier"},
        "logits",
    ),
    "hf swin": Case(
        lambda k: hf.SwinForImageClassification(
            hf.SwinConfig(
                embed_dim=8,
                depths=[1, 1],
                num_heads=[1, 1],
                window_size=2,
                image_size=32,
                num_labels=k,
            )
        ),
        images(32),
        {"classes": "classifier"},
        "logits",
    ),
    "hf resnet": Case(
        of(
            hf.ResNetForImageClassification,
            hf.ResNetConfig,
            embedding_size=8,
            hidden_sizes=[8, 8],
            depths=[1, 1],
        ),
        images(32),
        {"classes": "classifier.1"},
        "logits",
    ),
    "segformer": Case(segformer, images(32), {"classes": "decode_head.classifier"}, "logits"),
    "upernet": Case(upernet, images(), {"classes": "decode_head.classifier"}, resizes=False),
    "dpt": Case(
        dpt(hf.DPTForSemanticSegmentation), images(32), {"classes": "head.head.4"}, resizes=False
    ),
    "detr": Case(
        of(hf.DetrForObjectDetection, hf.DetrConfig, **stages(), **D), images(), DETR, "logits"
    ),
    "conditional detr": Case(
        of(hf.ConditionalDetrForObjectDetection, hf.ConditionalDetrConfig, **stages(), **D),
        images(),
        DETR,
        "logits",
    ),
    "deformable detr": Case(
        deformable,
        images(),
        {"classes": "class_embed.1", "boxes": "bbox_embed.1.layers.2"},
        "logits",
        resizes=False,
    ),
    "deformable detr, refined, two stages": Case(
        lambda k: deformable(k, with_box_refine=True, two_stage=True),
        images(),
        {"classes": "class_embed.1", "boxes": "bbox_embed.1.layers.2"},
        "logits",
        resizes=False,
    ),
    "rt detr": Case(
        rt_detr,
        images(),
        {
            "classes": "model.decoder.class_embed.1",
            "boxes": "model.decoder.bbox_embed.1.layers.2",
        },
        "logits",
        resizes=False,
    ),
    "yolos": Case(
        of(
            hf.YolosForObjectDetection,
            hf.YolosConfig,
            **{**PATCHES, "image_size": [32, 32]},
            num_detection_tokens=5,
        ),
        images(32),
        {"classes": "class_labels_classifier.layers.2", "boxes": "bbox_predictor.layers.2"},
        "logits",
    ),
    "maskformer": Case(
        maskformer, images(), {"classes": "class_predictor"}, "class_queries_logits"
    ),
    "mask2former": Case(
        mask2former, images(), {"classes": "class_predictor"}, "class_queries_logits"
    ),
    "bert classes": Case(
        of(hf.BertForSequenceClassification, hf.BertConfig, **TEXT),
        IDS,
        {"classes": "classifier"},
        "logits",
    ),
    "bert tokens": Case(
        of(hf.BertForTokenClassification, hf.BertConfig, **TEXT),
        IDS,
        {"classes": "classifier"},
        "logits",
    ),
    "bert masked": Case(
        of(hf.BertForMaskedLM, hf.BertConfig, **TEXT),
        IDS,
        {"classes": "cls.predictions.decoder"},
        "logits",
        resizes=False,
    ),
    "bert pretraining": Case(
        of(hf.BertForPreTraining, hf.BertConfig, **TEXT),
        IDS,
        {"classes": "cls.predictions.decoder"},
        "prediction_logits",
        resizes=False,
    ),
    "roberta masked": Case(
        of(hf.RobertaForMaskedLM, hf.RobertaConfig, **TEXT),
        IDS,
        {"classes": "lm_head.decoder"},
        "logits",
        resizes=False,
    ),
    "roberta classes": Case(
        of(hf.RobertaForSequenceClassification, hf.RobertaConfig, **TEXT),
        IDS,
        {"classes": "classifier.out_proj"},
        "logits",
    ),
    "gpt2": Case(
        of(hf.GPT2LMHeadModel, hf.GPT2Config, **GPT2), IDS, dict([VOCABULARY]), "logits", False
    ),
    "gpt2 classes": Case(
        of(hf.GPT2ForSequenceClassification, hf.GPT2Config, **GPT2),
        IDS,
        {"classes": "score"},
        "logits",
    ),
    "llama": Case(
        of(hf.LlamaForCausalLM, hf.LlamaConfig, **LLAMA), IDS, dict([VOCABULARY]), "logits", False
    ),
    "llama, tied": Case(
        of(hf.LlamaForCausalLM, hf.LlamaConfig, **LLAMA, tie_word_embeddings=True),
        IDS,
        dict([VOCABULARY]),
        "logits",
        False,
    ),
    "gemma": Case(
        of(hf.GemmaForCausalLM, hf.GemmaConfig, **LLAMA, head_dim=8),
        IDS,
        dict([VOCABULARY]),
        "logits",
        False,
    ),
    "gemma 2, soft-capped": Case(
        of(hf.Gemma2ForCausalLM, hf.Gemma2Config, **LLAMA, head_dim=8),
        IDS,
        dict([VOCABULARY]),
        None,
        False,
    ),
    "t5": Case(
        of(
            hf.T5ForConditionalGeneration,
            hf.T5Config,
            vocab_size=50,
            **T5,
            pad_token_id=0,
            decoder_start_token_id=0,
        ),
        SEQ2SEQ,
        dict([VOCABULARY]),
        "logits",
        False,
    ),
    "whisper": Case(
        of(hf.WhisperForConditionalGeneration, hf.WhisperConfig, vocab_size=50, **WHISPER),
        {"input_features": torch.rand(2, 8, 32), "decoder_input_ids": IDS},
        {"classes": "proj_out"},
        "logits",
        False,
    ),
}

# Models without a head that is known: what they return is no prediction, or not one of a role.
HEADLESS: dict[str, Callable[[int], nn.Module]] = {
    "clip": clip,
    "bert": of(hf.BertModel, hf.BertConfig, **TEXT),
    "vit": of(hf.ViTModel, hf.ViTConfig, **PATCHES),
    "t5 encoder": of(hf.T5EncoderModel, hf.T5Config, vocab_size=50, **T5),
    "dpt of depth": dpt(hf.DPTForDepthEstimation),
}
