"""The activations that upstream fuses into a product."""

from gossamer.compat.cumm.core_cc.tensorview_bind import Activation as Activation
