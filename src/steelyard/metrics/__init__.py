"""Array to number: pure functions, the same in a graph and on NumPy arrays, and their catalog."""

from steelyard.metrics._blocks import compute_in_blocks as compute_in_blocks
from steelyard.metrics._bulk import erg_spikes as erg_spikes
from steelyard.metrics._bulk import farms_alpha as farms_alpha
from steelyard.metrics._bulk import mp_bulk_max as mp_bulk_max
from steelyard.metrics._bulk import mp_bulk_min as mp_bulk_min
from steelyard.metrics._bulk import mp_sigma as mp_sigma
from steelyard.metrics._bulk import mp_softrank as mp_softrank
from steelyard.metrics._bulk import mp_spikes as mp_spikes
from steelyard.metrics._bulk import rand_distance as rand_distance
from steelyard.metrics._bulk import rand_lambda_max as rand_lambda_max
from steelyard.metrics._bulk import rand_sigma as rand_sigma
from steelyard.metrics._bulk import rand_softrank as rand_softrank
from steelyard.metrics._bulk import rand_spikes as rand_spikes
from steelyard.metrics._catalog import BESIDE as BESIDE
from steelyard.metrics._catalog import catalog as catalog
from steelyard.metrics._catalog import chosen as chosen
from steelyard.metrics._catalog import in_graph as in_graph
from steelyard.metrics._compute import compute as compute
from steelyard.metrics._compute import working_bytes as working_bytes
from steelyard.metrics._entries import inf_count as inf_count
from steelyard.metrics._entries import kurtosis as kurtosis
from steelyard.metrics._entries import l1_norm as l1_norm
from steelyard.metrics._entries import l2_norm as l2_norm
from steelyard.metrics._entries import max as max
from steelyard.metrics._entries import max_abs as max_abs
from steelyard.metrics._entries import mean as mean
from steelyard.metrics._entries import median as median
from steelyard.metrics._entries import min as min
from steelyard.metrics._entries import nan_count as nan_count
from steelyard.metrics._entries import quantile_01 as quantile_01
from steelyard.metrics._entries import quantile_05 as quantile_05
from steelyard.metrics._entries import quantile_25 as quantile_25
from steelyard.metrics._entries import quantile_75 as quantile_75
from steelyard.metrics._entries import quantile_95 as quantile_95
from steelyard.metrics._entries import quantile_99 as quantile_99
from steelyard.metrics._entries import rms as rms
from steelyard.metrics._entries import saturated_fraction as saturated_fraction
from steelyard.metrics._entries import skewness as skewness
from steelyard.metrics._entries import std as std
from steelyard.metrics._entries import subnormal_fraction as subnormal_fraction
from steelyard.metrics._entries import zero_fraction as zero_fraction
from steelyard.metrics._gradient import gradient_norm as gradient_norm
from steelyard.metrics._matrix import sides as sides
from steelyard.metrics._pairs import cosine as cosine
from steelyard.metrics._pairs import distance_from_init as distance_from_init
from steelyard.metrics._pairs import ema_distance as ema_distance
from steelyard.metrics._pairs import max_abs_difference as max_abs_difference
from steelyard.metrics._pairs import moved_on as moved_on
from steelyard.metrics._pairs import relative_distance as relative_distance
from steelyard.metrics._pairs import subspace_angle as subspace_angle
from steelyard.metrics._pairs import update_ratio as update_ratio
from steelyard.metrics._per_unit import dead_units as dead_units
from steelyard.metrics._per_unit import duplicate_units as duplicate_units
from steelyard.metrics._per_unit import max_unit_norm as max_unit_norm
from steelyard.metrics._per_unit import mean_unit_norm as mean_unit_norm
from steelyard.metrics._per_unit import min_unit_norm as min_unit_norm
from steelyard.metrics._per_unit import operator_norm_1 as operator_norm_1
from steelyard.metrics._per_unit import operator_norm_inf as operator_norm_inf
from steelyard.metrics._powerlaw import alpha as alpha
from steelyard.metrics._powerlaw import alpha_high as alpha_high
from steelyard.metrics._powerlaw import alpha_ks as alpha_ks
from steelyard.metrics._powerlaw import alpha_low as alpha_low
from steelyard.metrics._powerlaw import alpha_p_value as alpha_p_value
from steelyard.metrics._powerlaw import alpha_stderr as alpha_stderr
from steelyard.metrics._powerlaw import alpha_tail_size as alpha_tail_size
from steelyard.metrics._powerlaw import alpha_weighted as alpha_weighted
from steelyard.metrics._powerlaw import alpha_xmin as alpha_xmin
from steelyard.metrics._powerlaw import exponential_rate as exponential_rate
from steelyard.metrics._powerlaw import hill_alpha as hill_alpha
from steelyard.metrics._powerlaw import log_alpha_norm as log_alpha_norm
from steelyard.metrics._powerlaw import lognormal_mu as lognormal_mu
from steelyard.metrics._powerlaw import lognormal_sigma as lognormal_sigma
from steelyard.metrics._powerlaw import ratio_exponential as ratio_exponential
from steelyard.metrics._powerlaw import ratio_lognormal as ratio_lognormal
from steelyard.metrics._powerlaw import ratio_truncated as ratio_truncated
from steelyard.metrics._powerlaw import tail_model as tail_model
from steelyard.metrics._powerlaw import truncated_alpha as truncated_alpha
from steelyard.metrics._powerlaw import truncated_rate as truncated_rate
from steelyard.metrics._spectral import condition_number as condition_number
from steelyard.metrics._spectral import effective_rank as effective_rank
from steelyard.metrics._spectral import lambda_max as lambda_max
from steelyard.metrics._spectral import nuclear_norm as nuclear_norm
from steelyard.metrics._spectral import numerical_rank as numerical_rank
from steelyard.metrics._spectral import schatten_4_norm as schatten_4_norm
from steelyard.metrics._spectral import sigma_min as sigma_min
from steelyard.metrics._spectral import singular_values as singular_values
from steelyard.metrics._spectral import spectral_density as spectral_density
from steelyard.metrics._spectral import spectral_entropy as spectral_entropy
from steelyard.metrics._spectral import spectral_norm as spectral_norm
from steelyard.metrics._spectral import stable_rank as stable_rank

__all__ = [
    "BESIDE",
    "alpha",
    "alpha_high",
    "alpha_ks",
    "alpha_low",
    "alpha_p_value",
    "alpha_stderr",
    "alpha_tail_size",
    "alpha_weighted",
    "alpha_xmin",
    "catalog",
    "chosen",
    "compute",
    "compute_in_blocks",
    "condition_number",
    "cosine",
    "dead_units",
    "distance_from_init",
    "duplicate_units",
    "effective_rank",
    "ema_distance",
    "erg_spikes",
    "exponential_rate",
    "farms_alpha",
    "gradient_norm",
    "hill_alpha",
    "in_graph",
    "inf_count",
    "kurtosis",
    "l1_norm",
    "l2_norm",
    "lambda_max",
    "log_alpha_norm",
    "lognormal_mu",
    "lognormal_sigma",
    "max",
    "max_abs",
    "max_abs_difference",
    "max_unit_norm",
    "mean",
    "mean_unit_norm",
    "median",
    "min",
    "min_unit_norm",
    "moved_on",
    "mp_bulk_max",
    "mp_bulk_min",
    "mp_sigma",
    "mp_softrank",
    "mp_spikes",
    "nan_count",
    "nuclear_norm",
    "numerical_rank",
    "operator_norm_1",
    "operator_norm_inf",
    "quantile_01",
    "quantile_05",
    "quantile_25",
    "quantile_75",
    "quantile_95",
    "quantile_99",
    "rand_distance",
    "rand_lambda_max",
    "rand_sigma",
    "rand_softrank",
    "rand_spikes",
    "ratio_exponential",
    "ratio_lognormal",
    "ratio_truncated",
    "relative_distance",
    "rms",
    "saturated_fraction",
    "schatten_4_norm",
    "sides",
    "sigma_min",
    "singular_values",
    "skewness",
    "spectral_density",
    "spectral_entropy",
    "spectral_norm",
    "stable_rank",
    "std",
    "subnormal_fraction",
    "subspace_angle",
    "tail_model",
    "truncated_alpha",
    "truncated_rate",
    "update_ratio",
    "working_bytes",
    "zero_fraction",
]
