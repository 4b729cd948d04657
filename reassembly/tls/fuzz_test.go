package tls_test

import (
	"bytes"
	ctls "crypto/tls"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"

	"offpath/reassembly/tcp"
	"offpath/reassembly/tls"
)

// FuzzConn feeds a connection of which parts are exchanged: whatever comes, nothing
// is handed on that was not said, and all that is kept is given back.
func FuzzConn(f *testing.F) {
	x := talk(3, 2000)
	type recorded struct {
		tape *tape
		log  []byte
	}
	var tapes []recorded
	for _, c := range []struct{ version, suite uint16 }{
		{ctls.VersionTLS13, 0},
		{ctls.VersionTLS12, ctls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256},
		{ctls.VersionTLS12, ctls.TLS_RSA_WITH_AES_128_CBC_SHA},
		{ctls.VersionTLS10, ctls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA},
		{ctls.VersionTLS12, ctls.TLS_ECDHE_RSA_WITH_RC4_128_SHA},
	} {
		client, server := configs(f, c.version, c.suite)
		tp := recordTLS(f, x, client, server)
		tapes = append(tapes, recorded{tp, bytes.Clone(tp.log.Bytes())})
	}
	f.Add(uint8(0), []byte{}, []byte{})
	f.Add(uint8(1), []byte{0, 200, 7, 3}, []byte{22, 3, 3, 0, 4})
	f.Add(uint8(2), []byte{1, 90, 100, 2, 5, 5, 5, 5}, []byte{23, 3, 3, 64, 0})
	f.Add(uint8(3), []byte{9, 20, 255, 1, 3, 2, 1}, []byte{20, 3, 3, 0, 1, 1})
	f.Add(uint8(6), []byte{0, 0, 255, 0}, []byte{0x80, 46, 1, 3, 1, 0, 3, 0, 0, 0, 32, 0, 0, 47})
	f.Fuzz(func(t *testing.T, which uint8, edits, forged []byte) {
		r := tapes[int(which)%len(tapes)]
		said := slices.Clone(r.tape.said)
		// An edit is four octets: write, offset, length, kind.
		for ; len(edits) >= 4 && len(edits) < 64; edits = edits[4:] {
			at := int(edits[0]) % len(said)
			s := &said[at]
			from := min(int(edits[1])*4, len(s.octets))
			to := min(from+int(edits[2])*4, len(s.octets))
			switch edits[3] % 4 {
			case 0: // gone without a word
				s.octets = append(bytes.Clone(s.octets[:from]), s.octets[to:]...)
			case 1: // forged octets in between
				s.octets = append(append(bytes.Clone(s.octets[:from]), forged...), s.octets[from:]...)
			case 2:
				s.missing = int64(edits[2]) + 1
			case 3: // forged octets instead
				s.octets = append(bytes.Clone(s.octets[:from]), forged...)
			}
		}
		config := tls.Config{Secrets: store(t, r.log), Complete: which&0x80 != 0, Hold: 4000}
		if which&0x40 != 0 {
			config = withKeys(t, nil)
			config.Hold = 4000
		}
		o := observe(t, config)
		o.budget = tcp.NewBudget(1 << 20)
		size := 1 + len(edits)*100
		o.hear(said, size)
		assert.LessOrEqual(t, o.reader.Stats.Held, uint64(4000))
		for i, client := range []bool{true, false} {
			all := x.all(client)
			for _, piece := range o.pieces[i] {
				assert.True(t, subsequence(all, piece), "octets that were not said")
			}
		}
		o.close(t)
	})
}

// subsequence reports whether piece is made of octets of all, in their order.
func subsequence(all, piece []byte) bool {
	for _, octet := range piece {
		at := bytes.IndexByte(all, octet)
		if at < 0 {
			return false
		}
		all = all[at+1:]
	}
	return true
}
