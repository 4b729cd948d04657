package campaign

import (
	"cmp"
	"maps"
	"slices"
)

const (
	// maxFlows bounds the programs that are counted at an endpoint; what others
	// do is not told apart.
	maxFlows = 256
	// freshness is the weight of a new window in a flow.
	freshness = 0.2
	// sparse is how many right logins in a window what is true of all programs
	// is worth.
	sparse = 1
)

// flows are what comes from each program at one endpoint. An attack imitates
// few programs of the many that customers have. The zero value is ready.
type flows map[uint64]*flow

// flow is strangers and right logins in a window, on average of the last ones.
type flow struct {
	counts
	now counts // of the present window
}

func (f flows) get(program uint64) *flow {
	if w := f[program]; w != nil {
		return w
	}
	if len(f) >= maxFlows {
		program = 0
		if w := f[program]; w != nil {
			return w
		}
	}
	w := new(flow)
	f[program] = w
	return w
}

// turn ends a window with these strangers. Where programs are too many, those
// with the most logins are told apart: an attacker invents as many as he likes.
func (f flows) turn(failing map[uint64]failure) {
	strangers := make(map[uint64]float64)
	for _, stranger := range failing {
		strangers[stranger.program]++
	}
	for _, program := range most(strangers, func(n float64) float64 { return n }) {
		f.get(program).now.strangers += strangers[program]
	}
	for program, w := range f {
		w.move(freshness, w.now.strangers, w.now.right)
		w.now = counts{}
		if w.strangers+w.right < 0.01 {
			delete(f, program)
		}
	}
	if len(f) < maxFlows {
		return
	}
	programs := most(f, func(w *flow) float64 { return 10*w.right + w.strangers })
	for _, program := range programs[maxFlows/2:] {
		if program == 0 {
			continue
		}
		w := f[program]
		delete(f, program)
		rest := f[0]
		if rest == nil {
			rest = new(flow)
			f[0] = rest
		}
		rest.strangers += w.strangers
		rest.right += w.right
	}
}

// most lists programs, those with the most of something first.
func most[V any](m map[uint64]V, of func(V) float64) []uint64 {
	return slices.SortedFunc(maps.Keys(m), func(a, b uint64) int {
		return cmp.Or(cmp.Compare(of(m[b]), of(m[a])), cmp.Compare(a, b))
	})
}

// attempts is how many of a program's attempts are an attacker's for each login
// of its that is right, where customers have so many strangers for each, and
// there are so many of all programs' attempts.
func (f flows) attempts(program uint64, odds, all float64) float64 {
	w := f[program]
	if w == nil {
		if w = f[0]; w == nil {
			return all
		}
	}
	beyond := max(0, w.strangers-odds*w.right)
	return (beyond + sparse*all) / (w.right + sparse)
}
