"""gossamer.models.MinkUNet, and mmdetection3d's on its backend spconv."""

LINES = (
    ("stem.0", "backbone.conv_input.0.0"),
    ("stem.1", "backbone.conv_input.0.1"),
    ("stem.3", "backbone.conv_input.1.0"),
    ("stem.4", "backbone.conv_input.1.1"),
    ("down.{level}.coarsen.{step}", "backbone.encoder.{level}.0.{step}"),
    ("down.{level}.blocks.{block}.body.0", "backbone.encoder.{level}.{block1}.conv1"),
    ("down.{level}.blocks.{block}.body.1", "backbone.encoder.{level}.{block1}.bn1"),
    ("down.{level}.blocks.{block}.body.3", "backbone.encoder.{level}.{block1}.conv2"),
    ("down.{level}.blocks.{block}.body.4", "backbone.encoder.{level}.{block1}.bn2"),
    (
        "down.{level}.blocks.{block}.around.{step}",
        "backbone.encoder.{level}.{block1}.downsample.{step}",
    ),
    ("up.{level}.refine.{step}", "backbone.decoder.{level}.0.{step}"),
    ("up.{level}.blocks.{block}.body.0", "backbone.decoder.{level}.1.{block}.conv1"),
    ("up.{level}.blocks.{block}.body.1", "backbone.decoder.{level}.1.{block}.bn1"),
    ("up.{level}.blocks.{block}.body.3", "backbone.decoder.{level}.1.{block}.conv2"),
    ("up.{level}.blocks.{block}.body.4", "backbone.decoder.{level}.1.{block}.bn2"),
    (
        "up.{level}.blocks.{block}.around.{step}",
        "backbone.decoder.{level}.1.{block}.downsample.{step}",
    ),
    ("head", "decode_head.conv_seg"),
)
