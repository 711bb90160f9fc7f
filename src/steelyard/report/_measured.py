"""What a page shows of a weight, so what is measured for one."""

# By the order of the columns: what is looked over first, then the spectrum, then its tail.
PAGE_METRICS = (
    *("l2_norm", "max_abs", "mean", "std", "zero_fraction", "nan_count", "inf_count"),
    *("dead_units", "spectral_norm", "stable_rank", "effective_rank", "numerical_rank"),
    *("alpha", "alpha_xmin", "alpha_ks", "alpha_stderr", "alpha_tail_size"),
    *("mp_bulk_max", "mp_spikes", "singular_values"),
)
SPECTRUM = "singular_values"
