package envoy_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	xdscore "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	accesslog "github.com/envoyproxy/go-control-plane/envoy/service/accesslog/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	extension "github.com/envoyproxy/go-control-plane/envoy/service/extension/v3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"offpath/detect"
	"offpath/mitigate"
	"offpath/mitigate/envoy"
	"offpath/mitigate/internal/envoytest"
	"offpath/mitigate/internal/targettest"
)

var all = []string{"offpath_verdicts", "offpath_rates", "offpath_script"}

// stream is an Envoy's side of the protocol, made by hand.
type stream struct {
	t testing.TB
	extension.ExtensionConfigDiscoveryService_StreamExtensionConfigsClient
	end func() error // of the connection
}

func connect(t testing.TB, address string, headers ...string) stream {
	t.Helper()
	conn, err := grpc.NewClient(strings.Replace(strings.TrimPrefix(address, "tcp:"), "unix:", "unix://", 1), grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	ctx := metadata.AppendToOutgoingContext(within(t, targettest.Wait), headers...)
	s, err := extension.NewExtensionConfigDiscoveryServiceClient(conn).StreamExtensionConfigs(ctx, grpc.WaitForReady(true))
	require.NoError(t, err)
	return stream{t, s, conn.Close}
}

// ask asks for resources, and answers a response: refusal is an error, or none.
func (s stream) ask(names []string, nonce, refusal string) {
	s.t.Helper()
	r := &discovery.DiscoveryRequest{Node: &xdscore.Node{Id: "by-hand"}, ResourceNames: names, ResponseNonce: nonce}
	if refusal != "" {
		r.ErrorDetail = &rpcstatus.Status{Message: refusal}
	}
	require.NoError(s.t, s.Send(r))
}

// take acknowledges whatever comes, until the stream ends.
func (s stream) take() {
	for {
		r, err := s.Recv()
		if err != nil {
			return
		}
		if s.Send(&discovery.DiscoveryRequest{ResourceNames: all, ResponseNonce: r.Nonce}) != nil {
			return
		}
	}
}

func TestWhereNoEnvoyIsConnectedNothingIsInForceAndIsSaidSo(t *testing.T) {
	t.Parallel()
	idle, err := envoy.New(envoy.Options{Address: envoytest.Address(t)})
	require.NoError(t, err)
	_, err = idle.Identity(t.Context())
	assert.ErrorIs(t, err, mitigate.ErrConnectsItself)

	target := run(t, envoy.Options{Address: envoytest.Address(t)})
	targettest.Eventually(t, func() bool {
		_, err := target.Identity(t.Context())
		return errors.Is(err, envoy.ErrNoEnvoy)
	}, func() string { return "it serves" })
	assert.ErrorIs(t, target.Prepared(t.Context()), envoy.ErrNoEnvoy)
	_, err = target.Sync(t.Context(), nil)
	assert.ErrorIs(t, err, envoy.ErrNoEnvoy)
	assert.ErrorIs(t, target.Apply(t.Context(), []mitigate.Entry{block(1, of(client))}, nil), envoy.ErrNoEnvoy)
	assert.ErrorIs(t, target.SetMode(t.Context(), detect.ModeEnforce, false), envoy.ErrNoEnvoy)
	_, _, err = target.Mode(t.Context())
	assert.ErrorIs(t, err, envoy.ErrNoEnvoy)
}

func TestNobodyIsToldAnythingBeforeThereAreOrders(t *testing.T) {
	t.Parallel()
	address := envoytest.Address(t)
	target := run(t, envoy.Options{Address: address})
	s := connect(t, address)
	s.ask(all, "", "")
	connected(t, target, 1)
	assert.Error(t, target.Apply(within(t, time.Second), []mitigate.Entry{block(1, of(client))}, nil), "no full comparison yet")
	assert.Error(t, target.SetMode(within(t, time.Second), detect.ModeEnforce, false))
	got := make(chan *discovery.DiscoveryResponse)
	go func() {
		for {
			r, err := s.Recv()
			if err != nil {
				return
			}
			got <- r
		}
	}()
	select {
	case r := <-got:
		assert.Fail(t, "told", r)
	case <-time.After(200 * time.Millisecond):
	}
	go target.SetMode(within(t, time.Second), detect.ModeOff, false)
	assert.Contains(t, (<-got).String(), "local mode = 0", "off waits for nothing")
}

func TestAnOrderIsCarriedOutWhenAllEnvoysHaveTakenIt(t *testing.T) {
	t.Parallel()
	var address string
	first, target := enforcing(t, func(o *envoy.Options) { address = o.Address })
	sync(t, target, block(1, of(client)))
	setup := proxied
	setup.Address = address
	second := envoytest.Start(t, setup)
	connected(t, target, 2)
	answers(t, second, refused(block(1, of(client))), client, "/") // it had been told at once
	before, err := target.Identity(t.Context())
	require.NoError(t, err)
	assert.Contains(t, before.Version, envoytest.Version)

	second.Signal(syscall.SIGSTOP)
	err = target.Apply(within(t, time.Second), []mitigate.Entry{block(2, of(other))}, nil)
	assert.ErrorIs(t, err, context.DeadlineExceeded)
	assert.ErrorContains(t, err, `envoy "lb1" has not taken offpath_`)
	answers(t, first, refused(block(2, of(other))), other, "/") // the first waits for nobody
	second.Signal(syscall.SIGCONT)
	require.NoError(t, target.Apply(within(t, targettest.Wait), []mitigate.Entry{block(2, of(other))}, nil))
	answers(t, second, refused(block(2, of(other))), other, "/")

	second.Down()
	connected(t, target, 1)
	after, err := target.Identity(t.Context())
	require.NoError(t, err)
	assert.NotEqual(t, before.Process, after.Process)
	require.NoError(t, target.Apply(within(t, targettest.Wait), nil, []detect.Subject{of(other)}))
}

func TestWhatAnEnvoyRefusesIsAnErrorWithItsWords(t *testing.T) {
	t.Parallel()
	address := envoytest.Address(t)
	target := run(t, envoy.Options{Address: address})
	s := connect(t, address)
	s.ask(all, "", "")
	connected(t, target, 1)
	done := make(chan error, 1)
	go func() {
		_, err := target.Sync(within(t, targettest.Wait), []mitigate.Entry{block(1, of(client))})
		done <- err
	}()
	r, err := s.Recv()
	require.NoError(t, err)
	s.ask(all, "of another response", "not this one")
	s.ask(all, r.Nonce, "no such filter"+strings.Repeat("!", 1000))
	err = <-done
	var refusal *envoy.RefusedError
	require.ErrorAs(t, err, &refusal)
	assert.Contains(t, all, refusal.Resource)
	assert.True(t, strings.HasPrefix(refusal.Reason, "no such filter!"))
	assert.Len(t, refusal.Reason, 500)

	// What it takes later is in force.
	go s.take()
	limit := block(1, of(client))
	limit.Action, limit.Rate = detect.ActionRateLimit, detect.Rate{Requests: 1, Per: 1e9}
	sync(t, target, limit)
}

func TestAnEnvoyThatLacksAFilterIsNotPrepared(t *testing.T) {
	t.Parallel()
	address := envoytest.Address(t)
	target := run(t, envoy.Options{Address: address})
	s := connect(t, address)
	s.ask(all[:2], "", "")
	targettest.Eventually(t, func() bool {
		err := target.Prepared(t.Context())
		return err != nil && strings.Contains(err.Error(), `"by-hand" does not ask for offpath_script`)
	}, func() string { return fmt.Sprint(target.Prepared(t.Context())) })
	assert.ErrorIs(t, target.Prepared(t.Context()), envoy.ErrNotPrepared)
	err := target.SetMode(within(t, 100*time.Millisecond), detect.ModeOff, false)
	assert.ErrorIs(t, err, envoy.ErrNotPrepared)
}

func TestConnectionsThatOnlyLogTakeNoEnvoysPlace(t *testing.T) {
	t.Parallel()
	address := envoytest.Address(t)
	target := run(t, envoy.Options{Address: address})
	for range 100 { // as each worker of an Envoy has its own
		conn, err := grpc.NewClient(strings.Replace(address, "unix:", "unix://", 1), grpc.WithTransportCredentials(insecure.NewCredentials()))
		require.NoError(t, err)
		t.Cleanup(func() { conn.Close() })
		log, err := accesslog.NewAccessLogServiceClient(conn).StreamAccessLogs(within(t, targettest.Wait), grpc.WaitForReady(true))
		require.NoError(t, err)
		require.NoError(t, log.Send(&accesslog.StreamAccessLogsMessage{}))
	}
	s := connect(t, address)
	s.ask(all, "", "")
	connected(t, target, 1)
}

func TestOnlyWhoHasTheTokenIsTold(t *testing.T) {
	t.Parallel()
	address := fmt.Sprintf("tcp:127.0.0.1:%d", targettest.FreePorts(t, 1)[0])
	token := func() ([]byte, error) { return []byte("s3cret"), nil }
	target := run(t, envoy.Options{Address: address, Token: token})
	for _, headers := range [][]string{nil, {"authorization", "Bearer s3cre"}, {"authorization", "s3cret"}, {"authorization", "Bearer s3cret", "authorization", "Bearer s3cret"}} {
		_, err := connect(t, address, headers...).Recv()
		assert.Equal(t, codes.Unauthenticated, status.Code(err), "%q", headers)
	}
	_, err := target.Identity(t.Context())
	assert.ErrorIs(t, err, envoy.ErrNoEnvoy)
	setup := proxied
	setup.Address, setup.Token = address, true
	s := envoytest.Start(t, setup, func(config string) string { return strings.ReplaceAll(config, "TOKEN", "s3cret") })
	enforces(t, s, target)
}

func TestOverTLSOnlyWhoHasACertificateIsTold(t *testing.T) {
	t.Parallel()
	files := certificates(t)
	address := fmt.Sprintf("tcp:127.0.0.1:%d", targettest.FreePorts(t, 1)[0])
	target := run(t, envoy.Options{
		Address: address, Certificate: files.server, CA: files.ca,
		Key: func() ([]byte, error) { return os.ReadFile(files.serverKey) },
	})
	setup := proxied
	setup.Address, setup.TLS = address, true
	in := func(config string) string {
		return strings.NewReplacer("/etc/envoy/offpath-ca.pem", files.ca, "/etc/envoy/offpath-client.pem", files.client, "/etc/envoy/offpath-client.key", files.clientKey).Replace(config)
	}
	stranger := envoytest.Start(t, setup, in)
	setup.ClientTLS = true
	s := envoytest.Start(t, setup, in)
	enforces(t, s, target)
	assert.Equal(t, 200, stranger.Get(client, "/").Status)
	id, err := target.Identity(t.Context())
	require.NoError(t, err)
	assert.NotContains(t, id.Process, "+", "the stranger is none of ours")
}

// enforces is a target whose only Envoy does what it says.
func enforces(t testing.TB, s *envoytest.Server, target *envoy.Target) {
	t.Helper()
	connected(t, target, 1)
	e := block(1, of(client))
	sync(t, target, e)
	require.NoError(t, target.SetMode(within(t, targettest.Wait), detect.ModeEnforce, false))
	answers(t, s, refused(e), client, "/")
}

func TestASecondServerLeavesTheFirstItsSocket(t *testing.T) {
	t.Parallel()
	address := envoytest.Address(t)
	target := run(t, envoy.Options{Address: address})
	s := connect(t, address)
	s.ask(all, "", "")
	connected(t, target, 1)
	second, err := envoy.New(envoy.Options{Address: address})
	require.NoError(t, err)
	assert.ErrorContains(t, second.Run(within(t, time.Second)), "somebody else does")
	info, err := os.Stat(strings.TrimPrefix(address, "unix:"))
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o660), info.Mode().Perm())
}

func TestWhatCantBeCarriedIsSaid(t *testing.T) {
	target, err := envoy.New(envoy.Options{Name: "lb1", Address: "unix:/a"})
	require.NoError(t, err)
	rate := func(requests int, per time.Duration) mitigate.Entry {
		e := block(1, of(client))
		e.Action, e.Rate = detect.ActionRateLimit, detect.Rate{Requests: requests, Per: int64(per)}
		return e
	}
	with := func(s detect.Subject, network string) mitigate.Entry {
		s.Client = targettest.Network(network)
		return block(1, s)
	}
	deceive, late := block(1, of(client)), block(1, of(client))
	deceive.Action, late.Expires = detect.ActionDeceive, 1<<32
	for reason, e := range map[string]mitigate.Entry{
		"it does not compute JA4":                                           block(1, detect.Subject{JA4: "a"}),
		"it does not compute session hashes":                                block(1, detect.Subject{Session: "a"}),
		"no load balancer can match an account":                             block(1, detect.Subject{UserHash: "a"}),
		"the subject names nothing":                                         block(1, detect.Subject{}),
		"::ffff:1.2.3.4/128 is not an address as seen on the wire":          block(1, of("::ffff:1.2.3.4")),
		"::/0 has IPv4 in it where a proxy writes that as IPv6":             block(1, of("::/0")),
		"Envoy writes ::102:304 in another way":                             with(detect.Subject{Domain: "a"}, "::1.2.3.4"),
		"beside an endpoint or a program it matches single addresses":       with(detect.Subject{Domain: "a"}, "2001:db8::/64"),
		`endpoint "GET a/{id}" is not one literal path as offpath names it`: block(1, detect.Subject{Endpoint: "GET a/{id}"}),
		`it does not know the action "deceive"`:                             deceive,
		"expiry 4294967296 is not a 32-bit time":                            late,
		"a rate of 0 requests is out of range":                              rate(0, time.Second),
		"a rate per 1.5s is not one of whole seconds up to a day":           rate(1, 1500*time.Millisecond),
		"a rate per 25h0m0s is not one of whole seconds up to a day":        rate(1, 25*time.Hour),
	} {
		err := target.Carries(&e)
		assert.ErrorIs(t, err, mitigate.ErrUnsupported)
		assert.EqualError(t, err, "target lb1 can't carry the verdict: "+reason)
	}
}

func TestWhatThereIsNoRoomForIsRejected(t *testing.T) {
	t.Parallel()
	s, target := enforcing(t)
	var entries []mitigate.Entry
	for i := range envoy.MaxPredicates + 1 {
		entries = append(entries, block(mitigate.ID(i+1), detect.Subject{Domain: fmt.Sprintf("d%d.example", i)}))
	}
	for i := range envoy.MaxRates + 1 {
		e := block(mitigate.ID(10_000+i), of(fmt.Sprintf("127.3.0.%d", i)))
		e.Action, e.Rate = detect.ActionRateLimit, detect.Rate{Requests: i + 1, Per: 60e9}
		entries = append(entries, e)
	}
	_, err := target.Sync(within(t, targettest.Wait), entries)
	var rejected *mitigate.RejectedError
	require.ErrorAs(t, err, &rejected)
	assert.Equal(t, []mitigate.Rejection{
		{ID: 1<<32 + envoy.MaxPredicates + 1, Answer: "there is room for 4096 verdicts about programs, endpoints and domains"},
		{ID: 1<<32 + 10_000 + envoy.MaxRates, Answer: "there is room for 64 different rates"},
	}, rejected.Rejections)
	last := entries[envoy.MaxPredicates-1]
	answers(t, s, refused(last), client, "/", "Host", last.Subject.Domain)
	answers(t, s, passed, client, "/", "Host", entries[envoy.MaxPredicates].Subject.Domain)
	// Off and on again, and nothing is lost.
	require.NoError(t, target.SetMode(within(t, targettest.Wait), detect.ModeOff, false))
	answers(t, s, passed, client, "/", "Host", last.Subject.Domain)
	require.NoError(t, target.SetMode(within(t, targettest.Wait), detect.ModeEnforce, false))
	answers(t, s, refused(last), client, "/", "Host", last.Subject.Domain)
}

func TestAFullComparisonSaysWhatItChanged(t *testing.T) {
	t.Parallel()
	address := envoytest.Address(t)
	target := run(t, envoy.Options{Address: address})
	s := connect(t, address)
	s.ask(all, "", "")
	go s.take()
	connected(t, target, 1)
	kept, changed, gone := block(1, of("192.0.2.1")), block(2, of("192.0.2.2")), block(3, of("192.0.2.3"))
	sync(t, target, kept, changed, gone)
	changed.Expires++
	report, err := target.Sync(within(t, targettest.Wait), []mitigate.Entry{kept, changed, block(4, of("192.0.2.4"))})
	require.NoError(t, err)
	assert.Equal(t, mitigate.SyncReport{Compared: true, Held: 3, Set: 2, Removed: 1}, report)
	ended := block(5, of("192.0.2.5"))
	ended.Expires = time.Now().Unix() - 1
	require.NoError(t, target.Apply(within(t, targettest.Wait), []mitigate.Entry{ended}, nil))
	require.NoError(t, target.Sweep(within(t, targettest.Wait)))
	report, err = target.Sync(within(t, targettest.Wait), []mitigate.Entry{kept, changed, block(4, of("192.0.2.4"))})
	require.NoError(t, err)
	assert.Equal(t, mitigate.SyncReport{Compared: true, Held: 3}, report, "what had ended was swept out")
}
