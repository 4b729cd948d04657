package nftables_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/detect"
	"offpath/mitigate"
	"offpath/mitigate/controller"
	"offpath/mitigate/internal/targettest"
	"offpath/mitigate/nftables"
)

func TestItDoesWhatEveryTargetHasToDo(t *testing.T) {
	targettest.Conform(t, targettest.Traits{Networks: true, Expires: true, Counts: true}, func(t testing.TB) *targettest.Balancer {
		b := newBank(t)
		return &targettest.Balancer{
			Backend: b.backend, Deaf: true, Ask: b.ask,
			Target: func(t testing.TB) mitigate.Target { return b.target(t) },
		}
	})
}

func entry(id uint64, client string, change ...func(*mitigate.Entry)) mitigate.Entry {
	e := mitigate.Entry{
		ID: mitigate.ID(1<<32 | id), Action: detect.ActionBlock, Subject: detect.Subject{Client: targettest.Network(client)},
		Expires: time.Now().Add(time.Hour).Unix(),
	}
	for _, f := range change {
		f(&e)
	}
	return e
}

func watched(e *mitigate.Entry) { e.Monitor = true }

func TestNetworksMayOverlapAndTheMostSpecificIsCounted(t *testing.T) {
	b := newBank(t)
	target := b.target(t)
	_, err := target.Sync(t.Context(), []mitigate.Entry{
		entry(1, "203.0.113.0/24"), entry(2, "203.0.113.0/25"), entry(3, "203.0.113.7"), entry(4, "203.0.113.8", watched),
		entry(5, "2001:db8:1:2::/64"), entry(6, "2001:db8:1::/49"), entry(7, "127.9.0.0/24", watched),
	})
	require.NoError(t, err)
	require.NoError(t, target.SetMode(t.Context(), detect.ModeEnforce, false))
	for _, client := range []string{"203.0.113.7", "203.0.113.8", "203.0.113.9", "203.0.113.200", "2001:db8:1:2::1", "2001:db8:1:3::1"} {
		assert.True(t, b.refuses(client), client)
	}
	for _, client := range []string{"127.9.0.1", "127.9.1.1", "2001:db8:1:8000::1", "::1"} {
		assert.True(t, b.passes(client), client)
	}
	_, _, err = target.Mode(t.Context())
	require.NoError(t, err)
	hits, err := target.Hits(t.Context())
	require.NoError(t, err)
	passed := map[mitigate.ID]bool{}
	refused := map[mitigate.ID]uint64{}
	for _, h := range hits {
		passed[h.ID], refused[h.ID] = h.Passed > 0, h.Refused
	}
	assert.Equal(t, map[mitigate.ID]uint64{1<<32 | 1: 1, 1<<32 | 2: 2, 1<<32 | 3: 1, 1<<32 | 4: 0, 1<<32 | 5: 1, 1<<32 | 6: 1, 1<<32 | 7: 0}, refused)
	assert.True(t, passed[1<<32|4], "one that is only watched hides none that is enforced, and is counted too")
	assert.True(t, passed[1<<32|7])
}

func TestTheAllowListWinsAlsoWhereItsNetworksAreInOneAnother(t *testing.T) {
	b := newBank(t)
	target := b.target(t)
	_, err := target.Sync(t.Context(), []mitigate.Entry{entry(1, "203.0.113.0/24"), entry(2, "2001:db8:1::/48")})
	require.NoError(t, err)
	require.NoError(t, target.SetMode(t.Context(), detect.ModeEnforce, false))
	allow := func(networks ...string) {
		var list []netip.Prefix
		for _, n := range networks {
			list = append(list, targettest.Network(n))
		}
		require.NoError(t, target.SetAllow(t.Context(), list), networks)
	}
	allow("203.0.113.64/26", "203.0.113.64/27", "203.0.113.128/26", "203.0.113.255", "203.0.113.70", "2001:db8:1:2::/64", "255.0.0.0/8", "ffff::/16")
	for client, passes := range map[string]bool{
		"203.0.113.63": false, "203.0.113.64": true, "203.0.113.127": true, "203.0.113.128": true, "203.0.113.191": true, "203.0.113.192": false,
		"203.0.113.255": true, "203.0.113.254": false, "2001:db8:1:2::1": true, "2001:db8:1:3::1": false,
	} {
		assert.Equal(t, passes, b.passes(client), client)
	}
	allow("203.0.113.1")
	assert.True(t, b.refuses("203.0.113.64"))
	assert.True(t, b.passes("203.0.113.1"))
	allow("0.0.0.0/0", "::/0")
	assert.True(t, b.passes("203.0.113.64"))
	assert.True(t, b.passes("2001:db8:1:3::1"))
	allow()
	assert.True(t, b.refuses("203.0.113.1"))
}

func TestAnOpenConnectionEndsAndOtherPortsAreNotTouched(t *testing.T) {
	b := newBank(t)
	c := b.enforcing(t)
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(targettest.Attacker)}}
	conn, err := dialer.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", b.port))
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.SetDeadline(time.Now().Add(targettest.Wait)))
	ask := func() error {
		if _, err := fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: bank\r\n\r\n"); err != nil {
			return err
		}
		answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err == nil {
			answer.Body.Close()
		}
		return err
	}
	require.NoError(t, ask())
	require.NoError(t, c.Apply(targettest.Block(1, targettest.Attacker)))
	eventually(t, "refused", func() bool { return b.refuses(targettest.Attacker) })
	served := b.backend.Served()
	assert.ErrorIs(t, ask(), syscall.ECONNRESET)
	assert.Equal(t, served, b.backend.Served())
	answer, err := targettest.TryGet(targettest.Attacker, url("", b.other))
	require.NoError(t, err)
	assert.Equal(t, 200, answer.Status)

	// HTTP/3 is refused, too.
	quic, err := (&net.Dialer{LocalAddr: &net.UDPAddr{IP: net.ParseIP(targettest.Attacker)}}).Dial("udp", fmt.Sprintf("127.0.0.1:%d", b.port))
	require.NoError(t, err)
	defer quic.Close()
	server, err := net.ListenPacket("udp", fmt.Sprintf("127.0.0.1:%d", b.port))
	require.NoError(t, err)
	defer server.Close()
	require.NoError(t, quic.SetDeadline(time.Now().Add(targettest.Wait)))
	_, err = quic.Write([]byte("hello"))
	require.NoError(t, err)
	_, err = quic.Read(make([]byte, 10))
	assert.ErrorIs(t, err, syscall.ECONNREFUSED)
}

func TestWhatSomebodyElseDidToTheTableIsPutRight(t *testing.T) {
	b := newBank(t)
	c := b.enforcing(t)
	require.NoError(t, c.Apply(targettest.Block(1, targettest.Attacker)))
	require.NoError(t, c.Apply(targettest.Block(2, "203.0.113.0/24")))
	refuses := func() bool { return b.refuses(targettest.Attacker) && b.refuses("203.0.113.9") }
	eventually(t, "refused", refuses)
	restarts := uint64(0)
	for _, tt := range []struct {
		name, command string
		lost          bool // rather than a mode, which has a keeper of its own
	}{
		{"the table deleted", "delete table inet offpath", true},
		{"everything deleted, as a reload of nftables.service does", "flush ruleset", true},
		{"the rules of the table deleted", "flush table inet offpath", true},
		{"a chain emptied", "flush chain inet offpath enforce", true},
		{"the mode taken away", "flush chain inet offpath guard", false},
		{"a set emptied", "flush set inet offpath refuse_ipv4_32", true},
		{"a verdict deleted", "delete element inet offpath refuse_ipv4_24 { 203.0.113.0 }", true},
	} {
		nft(t, tt.command)
		eventually(t, tt.name, refuses)
		if tt.lost {
			restarts++
		}
		eventually(t, tt.name+": noticed, once", func() bool { s := c.Targets()[0]; return s.Restarts == restarts && s.Connected })
	}
	assert.True(t, b.passes(targettest.Customer))

	before := c.Targets()[0].Restarts
	nft(t, "add table inet of_another")
	nft(t, "add element inet offpath refuse_ipv4_32 { 127.1.2.9 }")
	time.Sleep(2 * time.Second)
	assert.Equal(t, before, c.Targets()[0].Restarts, "other tables, and more of ours, are no loss")
}

func TestATableThatHasOtherThingsByOurNamesIsMadeAnew(t *testing.T) {
	b := newBank(t)
	nft(t, "add table inet offpath")
	nft(t, "add set inet offpath refuse_ipv4_32 { type inet_service; }")
	nft(t, "add set inet offpath allow_ipv4 { type ipv6_addr; }")
	nft(t, "add set inet offpath unknown { type ipv6_addr; }")
	c := b.enforcing(t)
	require.NoError(t, c.Apply(targettest.Block(1, targettest.Attacker)))
	eventually(t, "refused", func() bool { return b.refuses(targettest.Attacker) })
}

func TestAFullComparisonLeavesExactlyWhatIsWanted(t *testing.T) {
	b := newBank(t)
	target := b.target(t)
	wanted := []mitigate.Entry{entry(1, "203.0.113.1"), entry(2, "203.0.113.2"), entry(3, "203.0.113.0/28", watched), entry(4, "2001:db8:1::1")}
	report, err := target.Sync(t.Context(), wanted)
	require.NoError(t, err)
	assert.Equal(t, mitigate.SyncReport{Compared: true, Set: 4}, report)
	report, err = target.Sync(t.Context(), wanted)
	require.NoError(t, err)
	assert.Equal(t, mitigate.SyncReport{Held: 4, Compared: true}, report)

	nft(t, "add element inet offpath refuse_ipv4_32 { 203.0.113.66 }")                                        // nobody's, for ever
	nft(t, "delete element inet offpath refuse_ipv4_32 { 203.0.113.1 }")                                      // lost
	nft(t, "delete element inet offpath refuse_ipv4_32 { 203.0.113.2 }")                                      //
	nft(t, "add element inet offpath refuse_ipv4_32 { 203.0.113.2 timeout 2h comment \"0000000100000002\" }") // of another end
	nft(t, "add element inet offpath watch_ipv4_28 { 203.0.113.16 timeout 1h comment \"0000000100000003\" }") // of another place
	report, err = target.Sync(t.Context(), wanted)
	require.NoError(t, err)
	assert.Equal(t, mitigate.SyncReport{Held: 5, Compared: true, Set: 2, Removed: 2}, report)
	text := nft(t, "list", "table", "inet", "offpath")
	assert.NotContains(t, text, "203.0.113.66")
	assert.NotContains(t, text, "203.0.113.16")
	assert.NotContains(t, text, "timeout 2h")
	assert.Equal(t, 4, strings.Count(text, "comment"))

	report, err = target.Sync(t.Context(), nil)
	require.NoError(t, err)
	assert.Equal(t, 0, report.Set)
	assert.NotContains(t, nft(t, "list", "table", "inet", "offpath"), "refuse_ipv", "what is not used costs packets nothing")
}

func TestARenewalEndsLaterAndAChangeOfModeMovesTheVerdict(t *testing.T) {
	b := newBank(t)
	target := b.target(t)
	_, err := target.Sync(t.Context(), nil)
	require.NoError(t, err)
	require.NoError(t, target.SetMode(t.Context(), detect.ModeEnforce, false))
	soon := entry(1, targettest.Attacker, func(e *mitigate.Entry) { e.Expires = time.Now().Unix() + 3 })
	later := entry(1, targettest.Attacker)
	for _, e := range []mitigate.Entry{soon, later, later} {
		require.NoError(t, target.Apply(t.Context(), []mitigate.Entry{e}, nil))
	}
	time.Sleep(time.Until(time.Unix(soon.Expires+1, 0)))
	assert.True(t, b.refuses(targettest.Attacker))
	require.NoError(t, target.Apply(t.Context(), []mitigate.Entry{entry(1, targettest.Attacker, watched)}, nil))
	assert.True(t, b.passes(targettest.Attacker))
	require.NoError(t, target.Apply(t.Context(), []mitigate.Entry{later}, nil))
	assert.True(t, b.refuses(targettest.Attacker))
	for range 2 {
		require.NoError(t, target.Apply(t.Context(), nil, []detect.Subject{later.Subject, {Client: targettest.Network("203.0.113.1")}, {Domain: "x"}}))
		assert.True(t, b.passes(targettest.Attacker))
	}
}

func TestTurnedOffByHandItStaysSoUntilOn(t *testing.T) {
	b := newBank(t)
	c := b.enforcing(t)
	require.NoError(t, c.Apply(targettest.Block(1, targettest.Attacker)))
	eventually(t, "refused", func() bool { return b.refuses(targettest.Attacker) })
	nft(t, "add element inet offpath off { tcp, udp }")
	assert.True(t, b.passes(targettest.Attacker), "at once")
	eventually(t, "noticed", func() bool { return c.Targets()[0].LocalOff })
	require.NoError(t, c.SetMode(detect.ModeMonitor, "alice"))
	require.NoError(t, c.SetMode(detect.ModeEnforce, "alice"))
	time.Sleep(300 * time.Millisecond)
	assert.True(t, b.passes(targettest.Attacker))
	require.NoError(t, c.On("alice"))
	eventually(t, "on", func() bool { return b.refuses(targettest.Attacker) })
}

func TestTheKillSwitchIsOneTransactionWhateverTheNumberOfVerdicts(t *testing.T) {
	const n = 100_000
	b := newBank(t)
	target := b.target(t)
	var entries []mitigate.Entry
	for i := range uint32(n) {
		entries = append(entries, entry(uint64(i+1), fmt.Sprintf("127.%d.%d.%d", 64+i>>16, i>>8&255, i&255)))
	}
	began := time.Now()
	_, err := target.Sync(t.Context(), entries)
	require.NoError(t, err)
	loaded := time.Since(began)
	require.NoError(t, target.SetMode(t.Context(), detect.ModeEnforce, false))
	last := entries[n-1].Subject.Client.Addr().String()
	assert.True(t, b.refuses(last))

	began = time.Now()
	require.NoError(t, target.SetMode(t.Context(), detect.ModeOff, false))
	off := time.Since(began)
	assert.True(t, b.passes(last))

	began = time.Now()
	report, err := target.Sync(t.Context(), entries)
	require.NoError(t, err)
	compared := time.Since(began)
	assert.Equal(t, mitigate.SyncReport{Held: n, Compared: true}, report, "off deletes nothing")
	require.NoError(t, target.SetMode(t.Context(), detect.ModeEnforce, false))
	began = time.Now()
	require.NoError(t, target.Apply(t.Context(), []mitigate.Entry{entry(n+1, targettest.Attacker)}, nil))
	one := time.Since(began)
	assert.True(t, b.refuses(targettest.Attacker))
	t.Logf("%d loaded in %s, compared in %s, off in %s, one more in %s", n, loaded.Round(time.Millisecond), compared.Round(time.Millisecond), off.Round(time.Microsecond), one.Round(time.Microsecond))
}

func TestWhatPacketsDoNotShowIsNotCarried(t *testing.T) {
	target, err := nftables.New(nftables.Options{Ports: []uint16{443}})
	require.NoError(t, err)
	client := detect.Subject{Client: targettest.Network("203.0.113.1")}
	for _, tt := range []struct {
		name, reason string
		entry        mitigate.Entry
	}{
		{"a block of an address", "", mitigate.Entry{Action: detect.ActionBlock, Subject: client}},
		{"a block of a network", "", mitigate.Entry{Action: detect.ActionBlock, Subject: detect.Subject{Client: targettest.Network("2001:db8::/48")}}},
		{"a rate limit", `packets show no requests: it has no action "rate_limit"`, mitigate.Entry{Action: detect.ActionRateLimit, Rate: detect.Rate{Requests: 1, Per: 1e9}, Subject: client}},
		{"a tag", `no action "tag"`, mitigate.Entry{Action: detect.ActionTag, Subject: client}},
		{"a challenge", `no action "challenge"`, mitigate.Entry{Action: detect.ActionChallenge, Subject: client}},
		{"a deception", `no action "deceive"`, mitigate.Entry{Action: detect.ActionDeceive, Subject: client}},
		{"a hold", `no action "hold"`, mitigate.Entry{Action: detect.ActionHold, Subject: detect.Subject{UserHash: "1"}}},
		{"a program", "packets show an address and nothing else", mitigate.Entry{Action: detect.ActionBlock, Subject: detect.Subject{Fingerprint: "1"}}},
		{"an address at an endpoint", "packets show an address and nothing else", mitigate.Entry{Action: detect.ActionBlock, Subject: detect.Subject{Client: client.Client, Endpoint: "GET a/"}}},
		{"everybody", "0.0.0.0/0 is no network of clients", mitigate.Entry{Action: detect.ActionBlock, Subject: detect.Subject{Client: targettest.Network("0.0.0.0/0")}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.entry.Expires = time.Now().Unix() + 60
			err := target.Carries(&tt.entry)
			if tt.reason == "" {
				assert.NoError(t, err)
				return
			}
			assert.ErrorIs(t, err, mitigate.ErrUnsupported)
			assert.ErrorContains(t, err, tt.reason)
			assert.ErrorIs(t, target.Apply(t.Context(), []mitigate.Entry{tt.entry}, nil), mitigate.ErrUnsupported)
			_, err = target.Sync(t.Context(), []mitigate.Entry{tt.entry})
			assert.ErrorIs(t, err, mitigate.ErrUnsupported)
		})
	}
}

func TestWrongOptionsAreSaid(t *testing.T) {
	many := make([]uint16, nftables.MaxPorts+1)
	for i := range many {
		many[i] = uint16(i + 1)
	}
	for want, options := range map[string]nftables.Options{
		"name those":         {},
		"nftables ports [0":  {Ports: []uint16{443, 0}},
		"65 ports, more":     {Ports: many},
		"capacity -1 is neg": {Ports: []uint16{443}, Capacity: -1},
	} {
		_, err := nftables.New(options)
		assert.ErrorContains(t, err, want)
	}
}

// children are what the test binary does as another user.
var children = map[string]func() error{
	"everything": func() error {
		target, err := nftables.New(nftables.Options{Ports: []uint16{443}})
		if err != nil {
			return err
		}
		ctx, e := context.Background(), entry(1, "203.0.113.1")
		if _, err := target.Identity(ctx); err != nil {
			return err
		}
		if err := target.SetAllow(ctx, []netip.Prefix{targettest.Network("203.0.113.9")}); err != nil {
			return err
		}
		if _, err := target.Sync(ctx, []mitigate.Entry{e}); err != nil {
			return err
		}
		if err := target.SetMode(ctx, detect.ModeEnforce, true); err != nil {
			return err
		}
		if _, err := target.Hits(ctx); err != nil {
			return err
		}
		return target.Apply(ctx, nil, []detect.Subject{e.Subject})
	},
}

func TestItNeedsOnePrivilegeAndNoMore(t *testing.T) {
	namespace(t)
	folder, err := os.MkdirTemp("", "offpath") // t.TempDir is for us alone
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(folder)) })
	require.NoError(t, os.Chmod(folder, 0o755))
	binary := filepath.Join(folder, "child")
	content, err := os.ReadFile(os.Args[0])
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(binary, content, 0o755))
	const nobody, capNetAdmin, capNetRaw = 65534, 12, 13
	as := func(capability uintptr) (string, error) {
		c := exec.Command(binary)
		c.Env = append(os.Environ(), child+"=everything")
		c.Dir = "/"
		c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}, AmbientCaps: []uintptr{capability}}
		out, err := c.CombinedOutput()
		return string(out), err
	}
	out, err := as(capNetAdmin)
	assert.NoError(t, err, out)
	out, err = as(capNetRaw)
	assert.Error(t, err)
	assert.Contains(t, out, "nftables needs the capability CAP_NET_ADMIN: run offpath as root or grant it")
}

func TestVerdictsOfAControllerThatIsGoneAreFoundByTheNext(t *testing.T) {
	b := newBank(t)
	folder := t.TempDir()
	config := controller.Config{Targets: []mitigate.Target{b.target(t)}, Mode: detect.ModeEnforce, StateDir: folder}
	c, stop := targettest.Running(t, config)
	require.NoError(t, c.Apply(targettest.Block(1, targettest.Attacker)))
	eventually(t, "refused", func() bool { return b.refuses(targettest.Attacker) })
	stop()
	config.Targets = []mitigate.Target{b.target(t)}
	c, _ = targettest.Running(t, config)
	eventually(t, "connected", func() bool { return c.Targets()[0].Connected })
	assert.True(t, b.refuses(targettest.Attacker))
	require.NoError(t, c.Lift(targettest.Block(1, targettest.Attacker).ID, "alice"))
	eventually(t, "lifted", func() bool { return b.passes(targettest.Attacker) })
}
