package http1_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/reassembly/http1"
)

func TestOfABodyNoMoreIsKeptThanIsWanted(t *testing.T) {
	message := "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n" + strings.Repeat("x", 500)
	for _, size := range []int{1 << 20, 100, 7, 1} {
		var p http1.Parser
		p.Answer()
		r, b := http1.NewReader(400), &budget{limit: 1 << 20}
		for i, wanted := range []int{20, 1000, 0} {
			ended := false
			for rest := message; len(rest) > 0; {
				in := http1.Input{Data: []byte(rest[:min(size, len(rest))])}
				rest = rest[len(in.Data):]
				for event := http1.Head; event != http1.More; {
					switch event = p.Read(r, b, &in); event {
					case http1.Head:
						p.Keep(r, wanted)
					case http1.End:
						ended = true
						assert.Len(t, r.Body.Prefix, min(wanted, 400))
						assert.EqualValues(t, 500, r.Body.Bytes)
						assert.False(t, r.Body.Whole)
					}
				}
			}
			require.True(t, ended, "message %d in segments of %d octets", i, size)
		}
		p.Close(r, b)
		assert.Zero(t, b.used)
	}
}
