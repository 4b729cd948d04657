package content

import (
	"golang.org/x/sys/cpu"

	"offpath/reassembly/internal/jsonscan"
)

// haveVectors says whether the processor has what overStrings uses.
var haveVectors = cpu.X86.HasAVX2 && cpu.X86.HasBMI1

const stringToken = jsonscan.String // as assembly can name it

// overStrings is stringSteps with 32 octets compared at once. It begins with edge i, and
// stops also before a string with an escape in it or of more than 32 octets. t has room
// for n edges and values before it. There has to be an octet of data.
//
//go:noescape
func overStrings(data *byte, size int, edges *edge, ahead *ahead, t *trail, i uint16, at, n, values int) (newAt, newN, newValues int)

// run is stringSteps in the way that the processor does best.
func (a *automaton) run(data []byte, state uint16, at, n, values int) (uint16, int, int, int) {
	if !a.vectors {
		return a.stringSteps(data, state, at, n, values)
	}
	i, before := a.likely[state][0], n
	if at >= len(data) || a.edges[i].target != toString {
		return state, at, n, values
	}
	at, n, values = overStrings(&data[0], len(data), &a.edges[0], &a.ahead[0], &a.trail, i, at, n, values)
	if n > before {
		state = a.edges[a.trail.edges[n-1]].to
	}
	return state, at, n, values
}
