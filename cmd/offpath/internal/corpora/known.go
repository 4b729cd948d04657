package corpora

import (
	"fmt"
	"os"
	"strings"
)

// Reason is why a case is known to differ.
type Reason struct {
	Class string // Argued, or what is missing: "tls", "http2" …
	Why   string
}

// Argued is the class of cases that stay as they are.
const Argued = "argued"

// Known reads the file of the cases that are known to differ: a line for each,
// "corpus/name class: why"; empty lines and those that begin with # are comments.
func Known(path string) (map[string]Reason, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	known := map[string]Reason{}
	for i, line := range strings.Split(string(text), "\n") {
		if line == "" || line[0] == '#' {
			continue
		}
		id, reason, _ := strings.Cut(line, " ")
		class, why, ok := strings.Cut(strings.TrimSpace(reason), ": ")
		if _, twice := known[id]; !ok || twice || why == "" {
			return nil, fmt.Errorf("%s:%d: %q is not a new case, a class and a reason", path, i+1, line)
		}
		known[id] = Reason{class, why}
	}
	return known, nil
}
