package judge

import (
	"hash/maphash"
	"math"
	"math/bits"
	"net/netip"
	"runtime"

	"offpath/reassembly"
)

// weight is what a detector holds, and for how many it does.
type weight struct {
	seed                          maphash.Seed
	addresses, accounts, sessions distinct
}

func newWeight() *weight { return &weight{seed: maphash.MakeSeed()} }

func (w *weight) add(tx *reassembly.Transaction) {
	w.addresses.add(maphash.Comparable[netip.Addr](w.seed, tx.Client))
	if tx.Auth.UserHash != "" {
		w.accounts.add(maphash.String(w.seed, tx.Auth.UserHash))
	}
	for _, token := range tx.Auth.SessionIssued {
		w.sessions.add(maphash.String(w.seed, token))
	}
}

// heap is the octets on the heap that something refers to.
func heap() float64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // finalisers of the first have run
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}

// distinct counts by linear counting (Whang et al., 1990): within 0.1 % up to some
// millions.
type distinct struct{ bits [distinctBits / 64]uint64 }

const distinctBits = 1 << 23

func (d *distinct) add(h uint64) {
	h %= distinctBits
	d.bits[h/64] |= 1 << (h % 64)
}

func (d *distinct) count() float64 {
	set := 0
	for _, word := range d.bits {
		set += bits.OnesCount64(word)
	}
	return -distinctBits * math.Log(1-float64(set)/distinctBits)
}
