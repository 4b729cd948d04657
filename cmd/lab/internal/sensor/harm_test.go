package sensor

import (
	"net/netip"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/detect"
	verdicts "offpath/detect/jsonl"
	"offpath/reassembly"
	transactions "offpath/reassembly/jsonl"
)

func TestHarmIsAPredicateThatCustomersMatchAndAHoldOfAnAccountNobodyStole(t *testing.T) {
	c := Config{Dir: t.TempDir()}
	customer, bot := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("198.51.100.1")
	write := func(name string, b []byte) { require.NoError(t, os.WriteFile(c.path(name), b, 0o600)) }

	var lines []byte
	for i, s := range []detect.Subject{
		{UserAgent: "tool"}, {UserAgent: "app"}, {UserAgent: "app", Endpoint: "POST bank.example/other"},
		{UserHash: "00000000000000a1"}, {UserHash: "00000000000000a2"}, {Client: netip.PrefixFrom(bot, 32)},
	} {
		v := detect.Verdict{Time: 1e9, ID: detect.NewID("test", s, int64(i)), Action: detect.ActionBlock, Mode: detect.ModeMonitor, Subject: s, Expires: 2e9}
		if s.UserHash != "" {
			v.Action = detect.ActionHold
		}
		lines = append(verdicts.AppendVerdict(lines, &v), '\n')
	}
	write("verdicts.jsonl", lines)

	lines = nil
	for _, tx := range []reassembly.Transaction{
		{Client: customer, Request: reassembly.Request{UserAgent: "app"}, Auth: reassembly.Auth{UserHash: "00000000000000a2"}, Annotation: reassembly.Annotation{EventOutcome: "success", Endpoint: "POST bank.example/login"}},
		{Client: bot, Request: reassembly.Request{UserAgent: "tool"}, Auth: reassembly.Auth{UserHash: "00000000000000a1"}, Annotation: reassembly.Annotation{EventOutcome: "success", Endpoint: "POST bank.example/login"}},
	} {
		tx.ID, tx.Request.Method, tx.Source, tx.Destination = "x", "POST", netip.AddrPortFrom(tx.Client, 1), netip.AddrPortFrom(customer, 80)
		lines = append(transactions.AppendTransaction(lines, &tx), '\n')
	}
	write("transactions.jsonl", lines)

	harm, err := c.Harm(func(a netip.Addr) bool { return a == bot })
	require.NoError(t, err)
	require.Len(t, harm, 2, "%v", harm)
	assert.Contains(t, harm[0]+harm[1], "UserAgent:app")
	assert.Contains(t, harm[0]+harm[1], "account 00000000000000a2")
}
