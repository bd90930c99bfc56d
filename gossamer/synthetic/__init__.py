"""Scans of streets that never were: points, a class for each, and a box around every road user.

Read downwards: `part` and `shapes` say what a solid is and where a ray meets it, `objects` builds a
car or a tree from solids, `street` lays out a street of them, `lidar` casts the beams, and `scan`
puts it together.
"""

from gossamer.synthetic.part import CLASSES
from gossamer.synthetic.scan import Boxes, Scan, simulate
from gossamer.synthetic.sensor import Sensor

__all__ = ["CLASSES", "Boxes", "Scan", "Sensor", "simulate"]
