"""gossamer.models.MinkUNet, and mmdetection3d's on its backend torchsparse."""

LINES = (
    ("stem.0", "backbone.conv_input.0.net.0"),
    ("stem.1", "backbone.conv_input.0.net.1"),
    ("stem.3", "backbone.conv_input.1.net.0"),
    ("stem.4", "backbone.conv_input.1.net.1"),
    ("down.{level}.coarsen.{step}", "backbone.encoder.{level}.0.net.{step}"),
    ("down.{level}.blocks.{block}.body.{step}", "backbone.encoder.{level}.{block1}.net.{step}"),
    (
        "down.{level}.blocks.{block}.around.{step}",
        "backbone.encoder.{level}.{block1}.downsample.{step}",
    ),
    ("up.{level}.refine.{step}", "backbone.decoder.{level}.0.net.{step}"),
    ("up.{level}.blocks.{block}.body.{step}", "backbone.decoder.{level}.1.{block}.net.{step}"),
    (
        "up.{level}.blocks.{block}.around.{step}",
        "backbone.decoder.{level}.1.{block}.downsample.{step}",
    ),
    ("head", "decode_head.conv_seg"),
)
