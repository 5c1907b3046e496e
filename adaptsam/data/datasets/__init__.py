"""Published collections and folders of images with masks, as samples to train and test with."""

from adaptsam.data.datasets.check import check_samples
from adaptsam.data.datasets.cvc_clinicdb import open_cvc_clinicdb
from adaptsam.data.datasets.four_d_lung import open_four_d_lung, visits
from adaptsam.data.datasets.image_mask_folder import open_folder
from adaptsam.data.datasets.kinds import KINDS, open_dataset, recognise
from adaptsam.data.datasets.kvasir_seg import open_kvasir_seg
from adaptsam.data.datasets.nsclc_radiomics import open_nsclc_radiomics
from adaptsam.data.datasets.sample import PARTS, Case, DataSet, Sample

__all__ = [
    "KINDS",
    "PARTS",
    "Case",
    "DataSet",
    "Sample",
    "check_samples",
    "open_cvc_clinicdb",
    "open_dataset",
    "open_folder",
    "open_four_d_lung",
    "open_kvasir_seg",
    "open_nsclc_radiomics",
    "recognise",
    "visits",
]
