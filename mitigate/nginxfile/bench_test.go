package nginxfile_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"offpath/mitigate"
	"offpath/mitigate/nginxfile"
)

// BenchmarkApply is one verdict more, from the order until it is in force, with many held:
// the list is written, tried by nginx, and taken over by a reload. What it waits for the
// distance between two reloads is left out.
func BenchmarkApply(b *testing.B) {
	for _, n := range []int{100, 10_000, 99_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			_, _, target := enforcing(b)
			var all []mitigate.Entry
			for i := range uint32(n) {
				all = append(all, entry(i+1, fmt.Sprintf("127.%d.%d.%d", 3+i>>16, i>>8&255, i&255)))
			}
			_, err := target.Sync(b.Context(), all)
			require.NoError(b, err)
			more := uint32(n)
			for b.Loop() {
				b.StopTimer()
				time.Sleep(nginxfile.MinInterval)
				more++
				e := entry(more, fmt.Sprintf("127.2.%d.%d", more>>8&255, more&255))
				b.StartTimer()
				apply(b, target, e)
			}
		})
	}
}
