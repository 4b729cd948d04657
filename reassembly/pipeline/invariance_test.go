package pipeline_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/capture"
	"offpath/capture/pcapfile"
	"offpath/reassembly"
	"offpath/reassembly/internal/script"
	"offpath/reassembly/pipeline"
)

// invariantCaptures is how many captures TestInvariance takes.
const invariantCaptures = 200

// sample is a capture of whole connections.
type sample struct {
	name    string
	packets []capture.Packet
}

// contested are the tags of captures in which the sides, or somebody between
// them, contradict themselves, so that the order of packets matters.
var contested = []string{"evasion", "evasion-tcp", "overlap", "rst", "odd-handshake", "synthetic"}

// samples are the captures of the corpora that nothing is missing of, as far as
// the corpora are there, and made ones up to the number.
func samples(t *testing.T) []sample {
	var list []sample
	text, err := os.ReadFile("../../../shared/corpora/index.json")
	if err == nil {
		var cases []struct {
			ID          string
			Pcaps, Tags []string
		}
		require.NoError(t, json.Unmarshal(text, &cases))
		for _, c := range cases {
			if slices.ContainsFunc(c.Tags, func(tag string) bool { return slices.Contains(contested, tag) }) {
				continue
			}
			for _, name := range c.Pcaps {
				path := filepath.Join("../../../shared/corpora", c.ID, name)
				if packets := readPackets(t, path); len(packets) < 20000 && whole(t, packets) {
					list = append(list, sample{c.ID, packets})
				}
			}
		}
	}
	t.Logf("%d captures of the corpora", len(list))
	for seed := uint64(0); len(list) < invariantCaptures; seed++ {
		r := rand.New(rand.NewPCG(seed, 7))
		s := script.New()
		for range 5 + r.IntN(20) {
			dialogue(s.Connection(), r, func() int { return 1400 })
		}
		list = append(list, sample{fmt.Sprint("made ", seed), s.Packets()})
	}
	return list
}

// readPackets reads the TCP packets of a capture file, as far as it goes.
func readPackets(t *testing.T, path string) (packets []capture.Packet) {
	t.Helper()
	source, err := pcapfile.Open([]string{path}, pcapfile.Options{Workers: 1})
	if err != nil {
		return nil
	}
	_ = source.Run(context.Background(), func(_ int, b capture.Batch) {
		for _, p := range b.Packets {
			if p.Disposition == capture.DispositionTCP {
				p.Data, p.Payload, p.Wrapping = nil, bytes.Clone(p.Payload), capture.Wrapping{}
				packets = append(packets, p)
			}
		}
	})
	return packets
}

// whole reports whether nothing is missing of a capture's connections, so that
// what is read does not depend on when packets come, and whether there are
// transactions to read.
func whole(t *testing.T, packets []capture.Packet) bool {
	for _, p := range packets {
		if len(p.Payload) != p.PayloadLen {
			return false
		}
	}
	txs, stats := run(t, config, packets, 64)
	if stats.TCP.Gap+stats.TCP.Conflicts+stats.TCP.FlowsMidstream+stats.TCP.PacketsStray+stats.TCP.ResetsIgnored > 0 {
		return false
	}
	for _, tx := range txs {
		if tx.Flags != 0 && tx.Flags != reassembly.FlagUpgraded && tx.Flags != reassembly.FlagTunnel || !tx.Complete || tx.Anomalies != 0 {
			return false
		}
	}
	return len(txs) > 0
}

// reordered returns the packets in an order that the hold of the reassembly
// bears. The packet that begins a connection stays before its others: a FIN that
// comes before anything else says nothing of a connection.
func reordered(packets []capture.Packet, r *rand.Rand) []capture.Packet {
	type flow struct {
		a, b         capture.Addr
		aPort, bPort uint16
	}
	key := func(p *capture.Packet) flow {
		f := flow{p.Src, p.Dst, p.SrcPort, p.DstPort}
		if bytes.Compare(f.a[:], f.b[:]) > 0 || f.a == f.b && f.aPort > f.bPort {
			f = flow{f.b, f.a, f.bPort, f.aPort}
		}
		return f
	}
	begins := map[flow]uint32{}
	for i := len(packets) - 1; i >= 0; i-- {
		if p := &packets[i]; p.Flags&(capture.FlagSYN|capture.FlagACK) == capture.FlagSYN {
			begins[key(p)] = p.Seq
		}
	}
	list := script.ShuffledWithin(packets, 64, 20*time.Millisecond, r)
	first := map[flow]int{}
	for i := 0; i < len(list); i++ {
		k := key(&list[i])
		seq, known := begins[k]
		if !known {
			continue
		}
		if _, seen := first[k]; !seen {
			first[k] = i
		}
		if list[i].Flags&(capture.FlagSYN|capture.FlagACK) == capture.FlagSYN && list[i].Seq == seq {
			p := list[i]
			copy(list[first[k]+1:i+1], list[first[k]:i])
			list[first[k]] = p
			delete(begins, k)
		}
	}
	return script.Stamp(list)
}

// renderings are transactions without what the way to the sensor changes: times,
// addresses and wrapping.
func renderings(txs []*reassembly.Transaction) []string {
	list := make([]string, 0, len(txs))
	txs = slices.Clone(txs)
	slices.SortStableFunc(txs, func(a, b *reassembly.Transaction) int {
		return cmp.Or(cmp.Compare(a.Source.Port(), b.Source.Port()), cmp.Compare(a.Destination.Port(), b.Destination.Port()),
			cmp.Compare(a.Sequence, b.Sequence), strings.Compare(a.Request.Target, b.Request.Target))
	})
	for _, tx := range txs {
		list = append(list, fmt.Sprintf("%d > %d #%d %s %+v %+v %+v %v %v %v %d %t", tx.Source.Port(), tx.Destination.Port(), tx.Sequence, tx.HTTPVersion,
			tx.Request, tx.Response, tx.Auth, tx.Informational, tx.Flags.Names(), tx.Anomalies.Names(), tx.GapBytes, tx.Complete))
	}
	return list
}

// file writes packets as a capture file, as a mirror may deliver them.
func file(t *testing.T, packets []capture.Packet, wrap script.Wrap, format pcapfile.Format) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "capture")
	f, err := os.Create(path)
	require.NoError(t, err)
	defer f.Close()
	w, err := pcapfile.NewWriter(f, format, pcapfile.Interface{Name: "mirror0", Link: wrap.Link})
	require.NoError(t, err)
	for i := range packets {
		frame := wrap.Frame(&packets[i])
		require.NoError(t, w.WritePacket(packets[i].Time, frame, len(frame)))
	}
	require.NoError(t, w.Flush())
	return path
}

// runFile reads a capture file.
func runFile(t *testing.T, config pipeline.Config, path string) []*reassembly.Transaction {
	t.Helper()
	var all []*reassembly.Transaction
	p, err := pipeline.New(config, func(_ int, txs []*reassembly.Transaction, _ int64) { all = append(all, txs...) })
	require.NoError(t, err)
	source, err := pcapfile.Open([]string{path}, pcapfile.Options{Workers: 1})
	require.NoError(t, err)
	require.NoError(t, source.Run(context.Background(), p.Handle))
	p.Close()
	stats := p.Stats()
	balance(t, &stats)
	return all
}

func requireSame(t *testing.T, want, got []string, what string) {
	t.Helper()
	if !assert.Len(t, got, len(want), what) {
		return
	}
	for i := range want {
		if !assert.Equal(t, want[i], got[i], what) {
			return
		}
	}
}

func TestInvariance(t *testing.T) {
	config := config
	config.Content.DetailHeaders, config.Content.DetailBodies = true, true
	config.Content.TrustedProxies = []netip.Prefix{}
	list := samples(t)
	transactions, variants := 0, 0
	for i, s := range list {
		plain, _ := run(t, config, s.packets, 64)
		want := renderings(plain)
		transactions += len(want)
		r := rand.New(rand.NewPCG(uint64(i), 11))
		small := script.Resegmented(s.packets, 1+r.IntN(1300), r)
		alterations := []struct {
			name    string
			packets []capture.Packet
		}{
			{"re-segmented", small},
			{"doubled", script.Doubled(s.packets, 1, r)},
			{"reordered", reordered(s.packets, r)},
			{"re-segmented, doubled and reordered", reordered(script.Doubled(small, 0.3, r), r)},
		}
		for _, a := range alterations {
			got, _ := run(t, config, a.packets, 1+r.IntN(200))
			requireSame(t, want, renderings(got), s.name+", "+a.name)
			variants++
		}
		capped := script.Resegmented(s.packets, 1300, r)
		for _, wrap := range script.Wraps {
			format := []pcapfile.Format{pcapfile.PcapNG, pcapfile.Pcap}[r.IntN(2)]
			got := runFile(t, config, file(t, capped, wrap, format))
			requireSame(t, want, renderings(got), s.name+", "+wrap.Name)
			variants++
		}
	}
	t.Logf("%d captures with %d transactions in %d variants", len(list), transactions, variants)
	assert.GreaterOrEqual(t, len(list), invariantCaptures)
}
