package cli

import (
	"os"
	"runtime/debug"

	"offpath/cmd/offpath/internal/config"
)

const (
	// replayGCPercent lets garbage grow to four times what is alive: a replay
	// keeps little and makes much, and a fifth of its time would else go into
	// collecting it.
	replayGCPercent = 400
	// replayHeadroom is what a replay may take beside reassembly's own limit
	// before garbage is collected more eagerly, octets.
	replayHeadroom = 1536 << 20
)

// tuneMemory trades memory for speed, unless the environment says how.
func tuneMemory(c *config.Config) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(replayGCPercent)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(int64(c.Reassembly.MemoryMiB)<<20 + replayHeadroom)
	}
}
