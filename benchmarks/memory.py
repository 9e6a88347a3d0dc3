"""Peak memory: nothing but the data may grow with the number of rows."""

from pathlib import Path

from benchmarks.data import capped, clusters, fit_passes, start

STATUS = Path("/proc/self/status")
CLEAR = Path("/proc/self/clear_refs")  # writing 5 resets the peak


def resident(field):
    """Return VmRSS or VmHWM of this process in MB."""
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) / 1024


class AboveData:
    """MB that the second fit of a process takes above what was there before: the compiler aside. Flat in the rows."""

    params = (["full", "tied", "diag", "spherical"], ["float64", "float32"], [200_000, 1_000_000, 4_000_000])
    param_names = ("covariance", "dtype", "rows")
    timeout = 300
    unit = "MB"

    def setup(self, covariance, dtype, rows):
        if not CLEAR.exists():
            raise NotImplementedError("the peak can be reset on Linux only")
        self.x = clusters(capped(rows), 4, 8, dtype)
        self.options = start(self.x, 8, covariance)
        fit_passes(self.x, 1, self.options)

    def track_second_fit(self, covariance, dtype, rows):
        CLEAR.write_text("5")
        before = resident("VmRSS")
        fit_passes(self.x, 2, self.options)
        return resident("VmHWM") - before


class Peak:
    """Peak of a whole process: imports, compiler, data and fit."""

    params = (["fit", "predict", "score_samples"],)
    param_names = ("method",)
    timeout = 300

    def setup(self, method):
        self.x = clusters(capped(1_000_000), 4, 8)
        self.options = start(self.x, 8, "full")

    def peakmem_process(self, method):
        fitted = fit_passes(self.x, 1, self.options)
        if method != "fit":
            getattr(fitted, method)(self.x)
