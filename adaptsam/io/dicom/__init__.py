"""DICOM: image series, RTSTRUCT and SEG, read and written."""
