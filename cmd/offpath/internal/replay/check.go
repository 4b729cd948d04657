package replay

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"offpath/cmd/offpath/internal/output"
)

// checkOutputs refuses outputs that would overwrite an input or each other.
func checkOutputs(o *Options) error {
	outputs := []struct{ flag, path string }{
		{"--transactions", o.Transactions}, {"--findings", o.Findings}, {"--verdicts", o.Verdicts}, {"--accounts", o.Accounts},
		{"--sitemap", o.Sitemap},
	}
	for i, out := range outputs {
		if out.path == "" {
			continue
		}
		for _, other := range outputs[:i] {
			if other.path != "" && sameFile(out.path, other.path) {
				return &InputError{fmt.Errorf("%s and %s both name %s; give each its own", other.flag, out.flag, called(out.path))}
			}
		}
		if out.path == output.Standard {
			continue
		}
		for _, in := range append([]string{o.Spec}, o.Inputs...) {
			if in != "" && in != output.Standard && sameFile(out.path, in) {
				return &InputError{fmt.Errorf("%s names the input %s, which it would overwrite", out.flag, in)}
			}
		}
	}
	if o.Mitigate && len(o.Config.Mitigate.Targets) == 0 {
		return &InputError{errors.New("--mitigate: the configuration has no mitigate.targets to send verdicts to")}
	}
	return nil
}

func called(path string) string {
	if path == output.Standard {
		return "standard output"
	}
	return path
}

// sameFile reports whether two paths name the same regular file, by name or
// as it stands on the disk. Devices such as /dev/null may serve twice.
func sameFile(a, b string) bool {
	if a == output.Standard || b == output.Standard {
		return a == b
	}
	first, errA := os.Stat(a)
	second, errB := os.Stat(b)
	if errA == nil && errB == nil {
		return first.Mode().IsRegular() && os.SameFile(first, second)
	}
	return filepath.Clean(a) == filepath.Clean(b)
}
