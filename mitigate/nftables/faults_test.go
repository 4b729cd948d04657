package nftables_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/detect"
	"offpath/mitigate"
	"offpath/mitigate/internal/targettest"
)

func TestAfterRandomFaultsTheKernelHoldsExactlyWhatIsWanted(t *testing.T) {
	b := newBank(t)
	target := b.target(t)
	const seed = 11
	dice := rand.New(rand.NewPCG(seed, 0))
	// No client is in two of what may be wanted.
	type candidate struct{ network, client string }
	var candidates []candidate
	for i := range 12 {
		one, six := fmt.Sprintf("203.0.113.%d", i+1), fmt.Sprintf("2001:db8:%d::1", i+1)
		candidates = append(candidates,
			candidate{one, one},
			candidate{fmt.Sprintf("127.9.%d.0/24", i), fmt.Sprintf("127.9.%d.7", i)},
			candidate{fmt.Sprintf("2001:db8:%d::/%d", i+1, 48+i), six})
	}
	wanted := map[int]mitigate.Entry{}
	entries := func() (list []mitigate.Entry) {
		for i := range candidates {
			if e, is := wanted[i]; is {
				list = append(list, e)
			}
		}
		return list
	}
	// As with the controller, a comparison follows a failure.
	orders := func(ctx context.Context) error {
		if _, err := target.Sync(ctx, entries()); err != nil {
			return err
		}
		return target.SetMode(ctx, detect.ModeEnforce, false)
	}
	require.NoError(t, orders(t.Context()))

	nft := targettest.Program(t, "nft")
	// meddle is what another process does; what is not there it can't harm.
	meddle := func() {
		one := candidates[3*dice.IntN(len(candidates)/3)].client
		commands := []string{
			"delete table inet offpath", "flush ruleset", "flush table inet offpath", "flush chain inet offpath enforce",
			"flush chain inet offpath guard", "flush set inet offpath refuse_ipv4_32", "flush set inet offpath refuse_ipv4_24",
			"flush chain inet offpath enforce; delete set inet offpath refuse_ipv4_32",
			"add element inet offpath refuse_ipv4_32 { 203.0.113.200 }",
			"delete element inet offpath refuse_ipv4_32 { " + one + " }",
		}
		exec.Command(nft, commands[dice.IntN(len(commands))]).Run()
	}
	failed, failures, applied := false, 0, 0
	for range 200 {
		var set []mitigate.Entry
		var remove []detect.Subject
		for _, i := range dice.Perm(len(candidates))[:1+dice.IntN(4)] {
			e := entry(uint64(1+dice.IntN(1<<30)), candidates[i].network)
			if _, is := wanted[i]; is && dice.IntN(2) == 0 {
				delete(wanted, i)
				remove = append(remove, e.Subject)
				continue
			}
			e.Monitor = dice.IntN(4) == 0
			wanted[i] = e
			set = append(set, e)
		}
		ctx, cancel := t.Context(), context.CancelFunc(func() {})
		switch dice.IntN(4) {
		case 0:
			meddle()
		case 1: // at any moment of the order
			ctx, cancel = context.WithTimeout(ctx, time.Duration(dice.IntN(100))*time.Microsecond)
		case 2: // a controller that knows nothing of the one before
			target, failed = b.target(t), true
		}
		var err error
		if failed {
			err = orders(ctx)
		} else {
			err = target.Apply(ctx, set, remove)
		}
		cancel()
		if failed = err != nil; failed {
			failures++
		} else {
			applied++
		}
	}
	t.Logf("%d orders failed, %d did not", failures, applied)
	require.Greater(t, failures, 5, "the faults are there")
	require.Greater(t, applied, 5)

	require.NoError(t, orders(t.Context()))
	for i, c := range candidates {
		e, is := wanted[i]
		assert.Equal(t, is && !e.Monitor, b.refuses(c.client), "%s, %+v", c.client, e)
	}
	assert.True(t, b.passes("203.0.113.200"), "what somebody else wrote is gone")
	report, err := target.Sync(t.Context(), entries())
	require.NoError(t, err)
	assert.Equal(t, mitigate.SyncReport{Held: len(wanted), Compared: true}, report)
}
