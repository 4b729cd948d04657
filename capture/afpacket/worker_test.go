package afpacket

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"offpath/capture"
	"offpath/capture/afpacket/internal/tpacket"
	"offpath/capture/decode"
)

func TestTimesThatGoBackAreClampedAndCounted(t *testing.T) {
	w := &worker{decoder: new(decode.Decoder)}
	in := &input{iface: &iface{link: capture.LinkEthernet}}
	var times []int64
	for _, stamp := range []int64{100, 90, 100, 120, 119, 121} {
		var p capture.Packet
		in.head = tpacket.Frame{Time: stamp}
		w.take(&p, in)
		assert.Equal(t, p.Time, p.Clock)
		times = append(times, p.Time)
	}
	assert.Equal(t, []int64{100, 100, 100, 120, 120, 121}, times)
	w.books.post(&w.tally, capture.FragmentStats{})
	var stats capture.Stats
	w.books.addTo(&stats)
	assert.EqualValues(t, 2, stats.TimeBackwards)
	assert.EqualValues(t, 6, stats.Received)
}
