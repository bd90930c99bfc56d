"""Checkpoints of other libraries as ours, ours as theirs, and theirs as one another's."""

from gossamer.convert.conversion import convert_state_dict as convert_state_dict
from gossamer.convert.detection import Detection as Detection
from gossamer.convert.detection import detect as detect
from gossamer.convert.formats import FORMATS as FORMATS
from gossamer.convert.options import Options as Options
from gossamer.convert.report import Report as Report
from gossamer.convert.whole import FileReport as FileReport
from gossamer.convert.whole import Request as Request
from gossamer.convert.whole import convert_file as convert_file
