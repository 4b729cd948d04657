package campaign

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

// turn ends a window with these strangers.
func (f flows) turn(failing map[uint64]failure) {
	for _, stranger := range failing {
		f.get(stranger.program).now.strangers++
	}
	for program, w := range f {
		w.move(freshness, w.now.strangers, w.now.right)
		w.now = counts{}
		if w.strangers+w.right < 0.01 {
			delete(f, program)
		}
	}
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
