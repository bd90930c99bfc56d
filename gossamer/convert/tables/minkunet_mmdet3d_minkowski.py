"""gossamer.models.MinkUNet, and mmdetection3d's on its backend minkowski."""

LINES = (
    ("stem.0", "backbone.conv_input.0.net.0"),
    ("stem.1", "backbone.conv_input.0.net.1"),
    ("stem.3", "backbone.conv_input.1.net.0"),
    ("stem.4", "backbone.conv_input.1.net.1"),
    ("down.{level}.coarsen.{step}", "backbone.encoder.{level}.0.net.{step}"),
    ("down.{level}.blocks.{block}.body.0", "backbone.encoder.{level}.{block1}.conv1"),
    ("down.{level}.blocks.{block}.body.1", "backbone.encoder.{level}.{block1}.norm1"),
    ("down.{level}.blocks.{block}.body.3", "backbone.encoder.{level}.{block1}.conv2"),
    ("down.{level}.blocks.{block}.body.4", "backbone.encoder.{level}.{block1}.norm2"),
    (
        "down.{level}.blocks.{block}.around.{step}",
        "backbone.encoder.{level}.{block1}.downsample.net.{step}",
    ),
    ("up.{level}.refine.{step}", "backbone.decoder.{level}.0.net.{step}"),
    ("up.{level}.blocks.{block}.body.0", "backbone.decoder.{level}.1.{block}.conv1"),
    ("up.{level}.blocks.{block}.body.1", "backbone.decoder.{level}.1.{block}.norm1"),
    ("up.{level}.blocks.{block}.body.3", "backbone.decoder.{level}.1.{block}.conv2"),
    ("up.{level}.blocks.{block}.body.4", "backbone.decoder.{level}.1.{block}.norm2"),
    (
        "up.{level}.blocks.{block}.around.{step}",
        "backbone.decoder.{level}.1.{block}.downsample.net.{step}",
    ),
    ("head", "decode_head.conv_seg"),
)
