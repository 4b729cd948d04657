package judge

import (
	"slices"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"

	"offpath/cmd/lab/internal/traffic"
	"offpath/detect"
	"offpath/detect/engine"
	"offpath/reassembly"
)

// BenchmarkEngine is what detection costs a transaction, on traffic of its own
// kind for each: an attack that rotates through addresses, a burst, sprayed
// passwords, and customers alone.
func BenchmarkEngine(b *testing.B) {
	for _, name := range []string{"B2-50", "B1", "B7", "N5"} {
		b.Run(name, func(b *testing.B) {
			list, err := traffic.Select([]string{name})
			require.NoError(b, err)
			run := list[0].Open(1)
			txs := make([]reassembly.Transaction, 0, 1<<17)
			for len(txs) < cap(txs) {
				txs = txs[:len(txs)+1]
				if _, more := run.Next(&txs[len(txs)-1]); !more {
					txs = txs[:len(txs)-1]
					break
				}
			}
			var seen, octets int
			var took time.Duration
			for b.Loop() {
				began := time.Now()
				e, err := engine.New(engine.Config{}, forgetful{})
				took += time.Since(began)
				require.NoError(b, err)
				for batch := range slices.Chunk(txs, 64) {
					for i := range batch {
						octets += touch(&batch[i])
					}
					began = time.Now()
					for i := range batch {
						e.Observe(&batch[i])
					}
					took += time.Since(began)
				}
				seen += len(txs)
			}
			require.Positive(b, octets)
			b.ReportMetric(float64(took.Nanoseconds())/float64(seen), "ns/tx")
		})
	}
}

// touch reads a transaction, as whoever hands it over has just written it.
func touch(tx *reassembly.Transaction) (n int) {
	whole := unsafe.Slice((*byte)(unsafe.Pointer(tx)), unsafe.Sizeof(*tx))
	for i := 0; i < len(whole); i += 64 {
		n += int(whole[i])
	}
	for _, s := range [...]string{
		tx.ID, tx.Fingerprint, tx.JA4, tx.Operation, tx.Request.Method, tx.Request.Domain, tx.Request.Path, tx.Request.UserAgent,
		tx.Auth.UserHash, tx.Auth.PasswordHash,
	} {
		for i := 0; i < len(s); i += 64 {
			n += int(s[i])
		}
	}
	return n
}

// forgetful is a Sink.
type forgetful struct{}

func (forgetful) Finding(*detect.Finding) {}
func (forgetful) Verdict(*detect.Verdict) {}
