"""Digital follow-ups: a later visit made from a real CT, so that its true contours are known.

The target is changed first, on the prior's own grid (``lesion``, ``tissue_quilting``): where tumour was, the patient's
own healthy tissue appears, where it grows, tumour takes its place. Then the patient moves and deforms
(``patient_motion``), and is scanned again with another grid, kernel and noise (``rescan``). The contours go the same
way as the image.
"""

from adaptsam.synthetic.digital_followup.followup_settings import CHANGES, TUMOURS, FollowUpSettings, settings_for
from adaptsam.synthetic.digital_followup.followup_visit import FollowUp, digital_followup
from adaptsam.synthetic.digital_followup.patient_motion import Motion

__all__ = ["CHANGES", "TUMOURS", "FollowUp", "FollowUpSettings", "Motion", "digital_followup", "settings_for"]
