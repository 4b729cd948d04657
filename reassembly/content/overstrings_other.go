//go:build !amd64

package content

const haveVectors = false

func (a *automaton) run(data []byte, state uint16, at, n, values int) (uint16, int, int, int) {
	return a.stringSteps(data, state, at, n, values)
}
