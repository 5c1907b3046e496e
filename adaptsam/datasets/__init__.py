"""Published collections and folders of images with masks, as samples to train and test with."""

from adaptsam.datasets.cvc_clinicdb import open_cvc_clinicdb
from adaptsam.datasets.dataset import PARTS, Case, DataSet, Sample
from adaptsam.datasets.dataset_recognition import KINDS, open_dataset, recognise
from adaptsam.datasets.four_d_lung import open_four_d_lung, visits
from adaptsam.datasets.image_mask_folder import open_folder
from adaptsam.datasets.integrity_check import check_samples
from adaptsam.datasets.kvasir_seg import open_kvasir_seg
from adaptsam.datasets.nsclc_radiomics import open_nsclc_radiomics

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
