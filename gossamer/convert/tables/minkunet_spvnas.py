"""gossamer.models.MinkUNet, and that of mit-han-lab/spvnas, which is written with TorchSparse."""

LINES = (
    ("stem.{step}", "stem.{step}"),
    ("down.{level}.coarsen.{step}", "stage{level1}.0.net.{step}"),
    ("down.{level}.blocks.{block}.body.{step}", "stage{level1}.{block1}.net.{step}"),
    ("down.{level}.blocks.{block}.around.{step}", "stage{level1}.{block1}.downsample.{step}"),
    ("up.{level}.refine.{step}", "up{level1}.0.net.{step}"),
    ("up.{level}.blocks.{block}.body.{step}", "up{level1}.1.{block}.net.{step}"),
    ("up.{level}.blocks.{block}.around.{step}", "up{level1}.1.{block}.downsample.{step}"),
    ("head", "classifier.0"),
)
