// Package metrics shows the books of every stage to Prometheus.
//
// Nothing is counted here: at each scrape the stages are asked for their
// books, so that what /metrics shows always balances as the stages' own
// counters do. The one exception is the time from a verdict to the first
// refusal seen on the wire, a histogram ([Registry.Refused]).
package metrics

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"offpath/capture"
	"offpath/cmd/offpath/internal/evidence"
	"offpath/cmd/offpath/internal/feed"
	"offpath/cmd/offpath/internal/state"
	"offpath/detect/engine"
	"offpath/detect/stream"
	"offpath/mitigate/controller"
	"offpath/reassembly/http2"
	"offpath/reassembly/pipeline"
	"offpath/reassembly/tcp"
	"offpath/reassembly/tls"
)

// Books are the stages of a process; those that it lacks are nil. The
// functions may be called at any time from any goroutine.
type Books struct {
	Capture   func() capture.Stats
	Pipeline  func() pipeline.Stats
	Queue     func() feed.Stats
	Evidence  func() evidence.Stats
	State     func() state.Stats
	Engine    func() (stats engine.Stats, ok bool) // ok is false if the engine did not answer in time
	Mitigate  func() controller.Stats
	Targets   func() []controller.Target
	Producer  func() stream.ProducerStats
	Consumer  func() stream.ConsumerStats
	Published func() stream.VerdictStats
	Ready     func() []string
}

// refusalBuckets are those of the time from a verdict to its first refusal,
// in seconds.
var refusalBuckets = []float64{0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300}

// Registry is the metrics of one process.
type Registry struct {
	registry *prometheus.Registry
	refusal  prometheus.Histogram
}

// New makes a registry that reads the books at each scrape.
func New(books Books, version, commit string) *Registry {
	r := &Registry{
		registry: prometheus.NewRegistry(),
		refusal: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "offpath_verdict_first_refusal_seconds",
			Help:    "Event time from a verdict to the first request that was seen refused by its order.",
			Buckets: refusalBuckets,
		}),
	}
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "offpath_build_info", Help: "Always 1; the labels say what is running.",
		ConstLabels: prometheus.Labels{"version": version, "commit": commit},
	})
	build.Set(1)
	r.registry.MustRegister(
		&collector{books}, build, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	if books.Engine != nil {
		r.registry.MustRegister(r.refusal)
	}
	return r
}

// Refused records the time from a verdict to its first refusal on the wire.
func (r *Registry) Refused(after time.Duration) { r.refusal.Observe(max(after, 0).Seconds()) }

// Handler answers scrapes.
func (r *Registry) Handler() http.Handler {
	return promhttp.HandlerFor(r.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4})
}

// collector turns books into metrics.
type collector struct{ books Books }

// Describe implements prometheus.Collector: which metrics there are depends on
// the stages, so none is announced.
func (c *collector) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c *collector) Collect(out chan<- prometheus.Metric) {
	w := writer{out}
	b := &c.books
	if b.Capture != nil {
		w.capture(b.Capture())
	}
	if b.Pipeline != nil {
		w.pipeline(b.Pipeline())
	}
	if b.Queue != nil {
		w.queue(b.Queue())
	}
	if b.State != nil {
		w.state(b.State())
	}
	if b.Evidence != nil {
		s := b.Evidence()
		w.counter("offpath_evidence_lines_total", "Lines of findings and verdicts that offpath explain is to know.", s.Lines)
		w.counter("offpath_evidence_lost_total", "Of these, lost because they could not be written.", s.Lost)
	}
	if b.Engine != nil {
		stats, ok := b.Engine()
		w.gauge("offpath_detection_responding", "1 if detection answered the scrape in time.", flag(ok))
		if ok {
			w.engine(stats)
		}
	}
	if b.Mitigate != nil {
		w.mitigate(b.Mitigate())
	}
	if b.Targets != nil {
		w.targets(b.Targets())
	}
	if b.Producer != nil {
		w.producer(b.Producer())
	}
	if b.Consumer != nil {
		w.consumer(b.Consumer())
	}
	if b.Published != nil {
		w.published(b.Published())
	}
	if b.Ready != nil {
		w.gauge("offpath_ready", "1 while everything that is configured works.", flag(len(b.Ready()) == 0))
	}
}

// writer makes metrics of numbers.
type writer struct{ out chan<- prometheus.Metric }

// labels are pairs of name and value.
type labels = []string

func (w writer) send(kind prometheus.ValueType, name, help string, value float64, pairs labels) {
	var names, values []string
	for i := 0; i+1 < len(pairs); i += 2 {
		names, values = append(names, pairs[i]), append(values, pairs[i+1])
	}
	desc := prometheus.NewDesc(name, help, names, nil)
	w.out <- prometheus.MustNewConstMetric(desc, kind, value, values...)
}

func (w writer) counter(name, help string, value uint64, pairs ...string) {
	w.send(prometheus.CounterValue, name, help, float64(value), pairs)
}

func (w writer) gauge(name, help string, value float64, pairs ...string) {
	w.send(prometheus.GaugeValue, name, help, value, pairs)
}

func flag(on bool) float64 {
	if on {
		return 1
	}
	return 0
}

// state is told by age, which says what a crash would cost.
func (w writer) state(s state.Stats) {
	w.counter("offpath_state_errors_total", "Snapshots of what detection knows that could not be written.", s.Errors)
	if !s.Restored.IsZero() {
		w.gauge("offpath_state_restored_timestamp_seconds", "Event time up to which the state was restored at the start.", float64(s.Restored.Unix()))
	}
	if s.Written.IsZero() {
		return
	}
	w.gauge("offpath_state_age_seconds", "Time since the last snapshot was on the disk.", time.Since(s.Written).Seconds())
	w.gauge("offpath_state_bytes", "Its size.", float64(s.Bytes))
	w.gauge("offpath_state_pause_seconds", "For how long detection stood still for it.", s.Pause.Seconds())
	w.gauge("offpath_state_write_seconds", "How long packing and writing it took.", s.Took.Seconds())
}

func (w writer) capture(s capture.Stats) {
	w.counter("offpath_capture_frames_total", "Frames that reached the decoder.", s.Received)
	w.counter("offpath_capture_bytes_total", "Their captured octets.", s.Bytes)
	const byDisposition = "Frames by what became of them; their sum is offpath_capture_frames_total."
	for d, n := range s.Frames {
		w.counter("offpath_capture_disposition_total", byDisposition, n, "disposition", capture.Disposition(d).String())
	}
	const lost = "Frames that were lost, by who lost them."
	w.counter("offpath_capture_dropped_total", lost, s.KernelDrops, "by", "kernel")
	w.counter("offpath_capture_dropped_total", lost, s.InterfaceDrops, "by", "interface")
	w.counter("offpath_capture_dropped_total", lost, s.HandOverDrops, "by", "handover")
	w.counter("offpath_capture_ring_freezes_total", "Times that a ring was full.", s.RingFreezes)
	w.counter("offpath_capture_cut_total", "Frames captured shorter than they were.", s.SnapLengthCut)
	w.counter("offpath_capture_time_backwards_total", "Frames stamped earlier than one before them.", s.TimeBackwards)
	const datagrams = "IP datagrams that came in fragments, by what became of them."
	w.counter("offpath_capture_datagrams_total", datagrams, s.Fragments.Whole, "event", "whole")
	w.counter("offpath_capture_datagrams_total", datagrams, s.Fragments.Expired, "event", "expired")
	w.counter("offpath_capture_datagrams_total", datagrams, s.Fragments.Conflicting, "event", "conflicting")
	w.counter("offpath_capture_datagrams_total", datagrams, s.Fragments.Evicted, "event", "evicted")
	w.counter("offpath_capture_fragments_duplicate_total", "IP fragments that had been seen before.", s.Fragments.Duplicates)
	w.counter("offpath_recording_dropped_total", "Frames not written to the recording.", s.RecordingDrops)
}

func (w writer) pipeline(s pipeline.Stats) {
	const octets = "Octets of TCP payload by what became of them."
	w.counter("offpath_tcp_octets_total", octets, s.TCP.Delivered, "event", "delivered")
	w.counter("offpath_tcp_octets_total", octets, s.TCP.Gap, "event", "missing")
	w.counter("offpath_tcp_octets_total", octets, s.TCP.Duplicate, "event", "duplicate")
	w.counter("offpath_tcp_octets_total", octets, s.TCP.Ignored, "event", "ignored")
	w.counter("offpath_tcp_octets_total", octets, s.TCP.Dropped, "event", "dropped")
	w.counter("offpath_tcp_octets_total", octets, s.TCP.Stray, "event", "stray")
	w.counter("offpath_tcp_gaps_total", "Times that octets were declared missing.", s.TCP.Gaps)
	w.counter("offpath_tcp_conflicts_total", "Segments that came again with other octets.", s.TCP.Conflicts)
	w.counter("offpath_tcp_flows_opened_total", "Connections begun.", s.TCP.FlowsOpened)
	for reason, n := range s.TCP.FlowsClosed {
		w.counter("offpath_tcp_flows_closed_total", "Connections ended, by reason.", n, "reason", tcp.Reason(reason).String())
	}
	w.gauge("offpath_tcp_flows", "Connections in the tables.", float64(s.TCP.Flows))
	w.gauge("offpath_tcp_buffered_bytes", "Octets that wait for others before them.", float64(s.TCP.Buffered))

	const connections = "Connections by what they speak; one that is decrypted, or a tunnel, also by what is inside."
	w.counter("offpath_connections_total", connections, s.ConnectionsHTTP, "protocol", "http1")
	w.counter("offpath_connections_total", connections, s.ConnectionsTLS, "protocol", "tls")
	w.counter("offpath_connections_total", connections, s.ConnectionsHTTP2, "protocol", "http2")
	w.counter("offpath_connections_total", connections, s.ConnectionsOther, "protocol", "other")
	w.counter("offpath_connections_refused_total", "Connections not read on because there was no room for what they speak.", s.ConnectionsRefused)
	w.counter("offpath_connections_proxied_total", "Connections that begin with a PROXY protocol header.", s.ConnectionsProxied)
	w.counter("offpath_connection_roles_corrected_total", "Times that the other side of a connection joined in the middle turned out to be the client.", s.RolesCorrected)
	w.counter("offpath_connection_claims_retracted_total", "Connections joined in the middle that seemed to speak TLS or HTTP/2, and spoke HTTP/1.", s.ClaimsRetracted)
	w.counter("offpath_proxy_headers_disbelieved_total", "PROXY protocol headers from trusted proxies that are seen to send none.", s.ProxyHeadersDisbelieved)
	w.counter("offpath_connections_upgraded_total", "Connections that turned from HTTP/1 to another protocol.", s.ConnectionsUpgraded)
	w.counter("offpath_connections_tunnel_total", "Connections that CONNECT made a tunnel.", s.ConnectionsTunnel)
	const messages = "HTTP messages read, of all versions."
	w.counter("offpath_http_messages_total", messages, s.HTTP.Requests+s.HTTP2.Requests, "kind", "request")
	w.counter("offpath_http_messages_total", messages, s.HTTP.Responses+s.HTTP2.Responses, "kind", "response")
	const lost = "HTTP messages that could not be used, by reason."
	w.counter("offpath_http_lost_total", lost, s.HTTP.Broken+s.HTTP2.Broken, "reason", "end_not_seen")
	w.counter("offpath_http_lost_total", lost, s.HTTP.HeadsLost+s.HTTP2.HeadsLost, "reason", "head_not_seen")
	w.counter("offpath_http_lost_total", lost, s.RequestsAbandoned+s.ResponsesAbandoned, "reason", "no_room")
	w.counter("offpath_http_lost_total", lost, s.ResponsesUnpaired, "reason", "unpaired_response")
	w.counter("offpath_http_lost_total", lost, s.QueueOverflows, "reason", "too_many_unanswered")
	w.counter("offpath_http_skipped_bytes_total", "Octets that belong to no message.", s.HTTP.SkippedOctets+s.HTTP2.SkippedOctets)
	w.streams(&s.HTTP2)
	w.secured(&s.TLS)
	w.sockets(&s)

	w.counter("offpath_transactions_total", "Transactions made.", s.Transactions)
	w.counter("offpath_transactions_complete_total", "Of these, seen to their end.", s.Complete)
	w.counter("offpath_transactions_unanswered_total", "Of these, without a response.", s.Unanswered)
}

func (w writer) streams(s *http2.Stats) {
	w.counter("offpath_http2_frames_total", "Frames of HTTP/2.", s.Frames)
	w.counter("offpath_http2_frame_errors_total", "Of these, such as RFC 9113 does not allow.", s.FrameErrors)
	w.counter("offpath_http2_fields_unknown_total", "Header fields left out because the compression table was not known.", s.FieldsUnknown)
	w.counter("offpath_http2_tables_lost_total", "Times that a compression table was lost.", s.TablesLost)
	w.counter("offpath_http2_resyncs_total", "Times that frame boundaries were found again.", s.Resyncs)
	w.counter("offpath_http2_streams_opened_total", "Streams begun.", s.StreamsOpened)
	const closed = "Streams ended, by why."
	w.counter("offpath_http2_streams_closed_total", closed, s.StreamsClosed-s.StreamsEvicted-s.StreamsExpired, "reason", "ended")
	w.counter("offpath_http2_streams_closed_total", closed, s.StreamsEvicted, "reason", "evicted")
	w.counter("offpath_http2_streams_closed_total", closed, s.StreamsExpired, "reason", "expired")
	const room = "What was given up for want of room."
	w.counter("offpath_http2_no_room_total", room, s.BudgetAbandoned, "what", "head")
	w.counter("offpath_http2_no_room_total", room, s.BudgetCut, "what", "body")
}

func (w writer) secured(s *tls.Stats) {
	const hellos = "Hellos of TLS, by sender."
	w.counter("offpath_tls_hellos_total", hellos, s.ClientHellos, "side", "client")
	w.counter("offpath_tls_hellos_total", hellos, s.ServerHellos, "side", "server")
	w.counter("offpath_tls_decrypted_total", "Connections of which something was decrypted.", s.Decrypted)
	for reason, n := range s.Opaque {
		if tls.Reason(reason) != tls.ReasonNone {
			w.counter("offpath_tls_opaque_total", "Connections that nothing more can be learnt of, by reason.", n, "reason", tls.Reason(reason).String())
		}
	}
	w.counter("offpath_tls_plain_bytes_total", "Octets of application data decrypted.", s.PlainOctets)
	const records = "Protected records, by what became of them."
	w.counter("offpath_tls_records_total", records, s.Records, "event", "opened")
	w.counter("offpath_tls_records_total", records, s.Unopened, "event", "not_authentic")
	w.counter("offpath_tls_records_total", records, s.LostRecords, "event", "missing")
	w.counter("offpath_tls_records_total", records, s.HoldLost+s.BudgetLost, "event", "no_room")
	w.counter("offpath_tls_secrets_found_total", "Connections whose secrets were found in a key log or a session.", s.SecretsFound)
	w.counter("offpath_tls_secrets_late_total", "Of these, after records that waited for them.", s.SecretsLate)
	w.counter("offpath_tls_sessions_resumed_total", "Resumptions of sessions that were remembered.", s.SessionsFound)
	w.counter("offpath_tls_rsa_decryptions_total", "Premaster secrets decrypted with a server's key.", s.RSADecryptions)
	w.gauge("offpath_tls_held_bytes", "Octets that wait for a secret.", float64(s.Held))
}

func (w writer) sockets(s *pipeline.Stats) {
	w.counter("offpath_websocket_connections_total", "WebSockets that have ended.", s.WebSockets)
	for _, side := range []struct {
		name string
		of   *pipeline.SocketStats
	}{{"client", &s.WebSocketClient}, {"server", &s.WebSocketServer}} {
		w.counter("offpath_websocket_frames_total", "Their frames, by sender.", side.of.Frames, "side", side.name)
		w.counter("offpath_websocket_messages_total", "Their text and binary messages, by sender.", side.of.Messages, "side", side.name)
		w.counter("offpath_websocket_bytes_total", "Octets of their payloads, by sender.", side.of.Octets, "side", side.name)
		w.counter("offpath_websocket_partial_total", "Sides of them that could not be counted to their end.", side.of.Partial, "side", side.name)
		w.counter("offpath_websocket_invalid_total", "Sides of them that were not as RFC 6455 has it.", side.of.Invalid, "side", side.name)
	}
}

func (w writer) queue(s feed.Stats) {
	w.counter("offpath_queue_transactions_total", "Transactions offered to detection.", s.Offered)
	w.counter("offpath_queue_shed_total", "Of these, shed because the queue was full.", s.Shed)
	w.gauge("offpath_queue_waiting", "Transactions that wait for detection.", float64(s.Queued))
}

func (w writer) engine(s engine.Stats) {
	w.counter("offpath_detect_transactions_total", "Transactions observed.", s.Transactions)
	w.counter("offpath_detect_late_total", "Of these, ended over a minute before others that had been observed, and were taken for as late as these.", s.Late)
	w.counter("offpath_detect_second_legs_total", "Of these, the second sight of a request.", s.SecondLegs)
	w.counter("offpath_detect_refused_total", "Of these, refused by a load balancer.", s.Refused)
	w.counter("offpath_detect_refused_stale_total", "Of these, refused by order of no active verdict against their client.", s.RefusedStale)
	w.counter("offpath_detect_no_client_total", "Logins whose client is unknown or a trusted proxy.", s.NoClient)
	for outcome, n := range s.Logins {
		w.counter("offpath_detect_logins_total", "Login attempts by outcome.", n, "outcome", outcome)
	}
	w.counter("offpath_detect_logins_repeated_total", "Login attempts that had been counted before.", s.Repeated)
	w.counter("offpath_detect_findings_total", "Findings.", s.Findings)
	w.counter("offpath_detect_campaigns_total", "Campaigns that were opened.", s.Campaigns)
	const verdicts = "Verdicts by what happened to them."
	w.counter("offpath_detect_verdicts_total", verdicts, s.Verdicts, "event", "new")
	w.counter("offpath_detect_verdicts_total", verdicts, s.Restored, "event", "restored")
	w.counter("offpath_detect_verdicts_total", verdicts, s.Renewals, "event", "renewed")
	w.counter("offpath_detect_verdicts_total", verdicts, s.Expired, "event", "expired")
	w.counter("offpath_detect_verdicts_total", verdicts, s.Lifted, "event", "lifted")
	w.counter("offpath_detect_verdicts_total", verdicts, s.RolledBack, "event", "rolled_back")
	const vetoes = "Convictions that did not become verdicts, by reason."
	w.counter("offpath_detect_vetoes_total", vetoes, s.VetoKnownGood, "reason", "known_good")
	w.counter("offpath_detect_vetoes_total", vetoes, s.VetoOutage, "reason", "outage")
	w.counter("offpath_detect_vetoes_total", vetoes, s.VetoUnanchored, "reason", "unanchored")
	w.counter("offpath_detect_vetoes_total", vetoes, s.VetoAllowed, "reason", "allow_list")
	w.counter("offpath_detect_vetoes_total", vetoes, s.VetoPrice, "reason", "price")
	w.counter("offpath_detect_vetoes_total", vetoes, s.VetoPolicy, "reason", "policy")
	w.counter("offpath_detect_vetoes_total", vetoes, s.VetoCapacity, "reason", "capacity")
	const unstopped = "Wrong logins of a campaign against which there is no verdict, by reason."
	w.counter("offpath_detect_unstopped_total", unstopped, s.VetoBudget, "reason", "budget")
	w.counter("offpath_detect_unstopped_total", unstopped, s.VetoCampaigns, "reason", "capacity")
	const evictions = "What was forgotten for want of room."
	w.counter("offpath_detect_evictions_total", evictions, s.EntityEvictions, "table", "clients")
	w.counter("offpath_detect_evictions_total", evictions, s.EndpointEvictions, "table", "endpoints")
	w.counter("offpath_detect_evictions_total", evictions, s.Names.Forgotten, "table", "paths")
	w.counter("offpath_detect_evictions_total", evictions, s.Names.Crowded, "table", "path_siblings")
	w.counter("offpath_detect_evictions_total", evictions, s.Names.Unhosted, "table", "hosts")
	w.counter("offpath_detect_evictions_total", evictions, s.Names.Dropped, "table", "path_aliases")
	w.counter("offpath_detect_evictions_total", evictions, s.MapForgotten, "table", "sitemap")
	w.counter("offpath_detect_evictions_total", evictions, s.DossierEvictions, "table", "evidence")
	w.counter("offpath_detect_evictions_total", evictions, s.PolicyEvictions, "table", "policies")
	w.counter("offpath_detect_evictions_total", evictions, s.CellEvictions, "table", "cells")
	w.counter("offpath_detect_evictions_total", evictions, s.NetworkEvictions, "table", "networks")
	w.counter("offpath_detect_sitemap_lost_total", "Requests of endpoints that the site map had no room for, since it is kept.", s.MapLost)
	w.counter("offpath_detect_network_records_damaged_total", "Records of the databases of networks that could not be read.", s.NetworksDamaged)
	w.counter("offpath_detect_endpoints_merged_total", "Literal paths that turned out to be values of a template.", s.Names.Merged)
	w.counter("offpath_detect_templates_total", "Parameters of paths that were learned, not shown by a shape.", s.Names.Templates)
	w.counter("offpath_detect_templates_collapsed_total", "Of these: learned for want of room among siblings.", s.Names.Collapsed)
	w.counter("offpath_detect_unadmitted_total", "Requests for what was never answered but by 404, a refusal or silence.", s.Names.Unadmitted)
	w.counter("offpath_detect_overrides_too_dear_total", "Overrides that cost too much over a request; they do not hold of it.", s.OverridesTooDear)
	w.counter("offpath_detect_policy_errors_total", "Evaluations of policies' conditions that failed; they convict nobody.", s.PolicyErrors)
	const held = "What is remembered now."
	w.gauge("offpath_detect_held", held, float64(s.Entities), "table", "clients")
	w.gauge("offpath_detect_held", held, float64(s.Endpoints), "table", "endpoints")
	w.gauge("offpath_detect_held", held, float64(s.Names.Endpoints), "table", "paths")
	w.gauge("offpath_detect_held", held, float64(s.Names.Nodes), "table", "path_segments")
	w.gauge("offpath_detect_held", held, float64(s.Names.Hosts), "table", "hosts")
	w.gauge("offpath_detect_held", held, float64(s.Mapped), "table", "sitemap")
	w.gauge("offpath_detect_held", held, float64(s.LoginEndpoints), "table", "login_endpoints")
	w.gauge("offpath_detect_held", held, float64(s.ActiveVerdicts), "table", "verdicts")
	w.gauge("offpath_detect_held", held, float64(s.PolicyEntities), "table", "policies")
	w.gauge("offpath_detect_held", held, float64(s.Cells), "table", "cells")
	w.gauge("offpath_detect_held", held, float64(s.OpenCampaigns), "table", "campaigns")
}

func (w writer) mitigate(s controller.Stats) {
	const verdicts = "Verdicts that reached mitigation, by what became of them."
	w.counter("offpath_mitigate_verdicts_total", verdicts, s.Accepted, "event", "accepted")
	w.counter("offpath_mitigate_verdicts_total", verdicts, s.Renewed, "event", "renewed")
	w.counter("offpath_mitigate_verdicts_total", verdicts, s.Stale, "event", "stale")
	w.counter("offpath_mitigate_verdicts_total", verdicts, s.Evicted, "event", "evicted")
	w.counter("offpath_mitigate_verdicts_total", verdicts, s.Expired, "event", "expired")
	w.counter("offpath_mitigate_verdicts_total", verdicts, s.Lifted, "event", "lifted")
	w.counter("offpath_mitigate_shortened_total", "Verdicts whose lifetime was cut.", s.Shortened)
	for rail, n := range s.Refused {
		w.counter("offpath_mitigate_refused_total", "Verdicts that were not accepted, by the rail they broke.", n, "rail", rail)
	}
	const lost = "Writings to the state folder that failed."
	w.counter("offpath_mitigate_lost_total", lost, s.AuditLost, "what", "audit")
	w.counter("offpath_mitigate_lost_total", lost, s.StateLost, "what", "state")
	w.gauge("offpath_mitigate_active", "Active verdicts.", float64(s.Active))
	w.gauge("offpath_mitigate_waiting", "Verdicts that wait for approval.", float64(s.Waiting))
	w.gauge("offpath_mitigate_harm_per_million", "Legitimate logins that the verdicts that act, those about single clients aside, are expected to hit, of a million.", s.Harm)
	w.gauge("offpath_mitigate_off", "1 while the kill switch is on.", flag(s.Off))
}

func (w writer) targets(targets []controller.Target) {
	for _, t := range targets {
		at := labels{"target", t.Name}
		by := func(name, value string) labels { return append(labels{name, value}, at...) }
		w.gauge("offpath_target_up", "1 while the load balancer is reachable and holds what it should.", flag(t.Connected), at...)
		w.gauge("offpath_target_off", "1 while it is turned off at the load balancer itself.", flag(t.LocalOff), at...)
		const verdicts = "Verdicts by their state at the load balancer."
		w.gauge("offpath_target_verdicts", verdicts, float64(t.InForce), by("state", "in_force")...)
		w.gauge("offpath_target_verdicts", verdicts, float64(t.Pending), by("state", "pending")...)
		w.gauge("offpath_target_verdicts", verdicts, float64(t.Unsupported), by("state", "unsupported")...)
		w.gauge("offpath_target_verdicts", verdicts, float64(t.Rejected), by("state", "rejected")...)
		w.gauge("offpath_target_lag_seconds", "Age of the oldest change not yet sent.", t.Lag.Seconds(), at...)
		w.gauge("offpath_target_latency_seconds", "From a verdict's arrival to the load balancer's confirmation, last change.", t.LastLatency.Seconds(), at...)
		w.gauge("offpath_target_latency_max_seconds", "The same, highest so far.", t.MaxLatency.Seconds(), at...)
		w.counter("offpath_target_errors_total", "Failed exchanges.", t.Errors, at...)
		w.counter("offpath_target_syncs_total", "Full comparisons.", t.Syncs, at...)
		w.counter("offpath_target_drift_total", "Entries that full comparisons had to mend.", t.Drift, at...)
		w.counter("offpath_target_restarts_total", "Restarts of the load balancer that were noticed.", t.Restarts, at...)
		w.counter("offpath_target_faults_total", "Requests let through, and entries forgotten, because offpath's part of the load balancer failed.", t.Faults, at...)
		if t.Fetching == nil {
			continue
		}
		w.gauge("offpath_target_consumers", "Consumers that fetch from it and are not late.", float64(t.Fetching.Current()), at...)
		w.counter("offpath_target_consumers_forgotten_total", "Consumers forgotten, for long absence or to make room.", t.Fetching.Forgotten, at...)
		w.counter("offpath_target_denied_total", "Requests without the right key.", t.Fetching.Denied, at...)
		for _, c := range t.Fetching.Consumers {
			of := labels{"consumer", c.Name, "target", t.Name}
			w.gauge("offpath_consumer_up", "1 while a consumer fetches as regularly as it did.", flag(!c.Late), of...)
			w.gauge("offpath_consumer_behind", "Entries that a consumer does not have, or does not ask for.", float64(c.Behind), of...)
			w.gauge("offpath_consumer_last_fetch_timestamp_seconds", "When a consumer last asked.", float64(c.Last.UnixMilli())/1000, of...)
			w.counter("offpath_consumer_fetches_total", "Answers that a consumer took whole.", c.Fetches, of...)
			w.counter("offpath_consumer_refused_total", "Requests or packets that a consumer says it refused.", c.Refused, of...)
		}
	}
}

func (w writer) producer(s stream.ProducerStats) {
	const transactions = "Transactions sent to Kafka, by what became of them."
	w.counter("offpath_stream_produced_total", transactions, s.Written, "event", "written")
	w.counter("offpath_stream_produced_total", transactions, s.Shed, "event", "shed")
	w.counter("offpath_stream_produced_total", transactions, s.TooLarge, "event", "too_large")
	w.counter("offpath_stream_watermarks_total", "Watermarks written.", s.Watermarks)
	w.counter("offpath_stream_retries_total", "Writes that were tried again.", s.Retries, "topic", "transactions")
	w.gauge("offpath_stream_waiting", "Transactions that wait to be written.", float64(s.Queued))
}

func (w writer) consumer(s stream.ConsumerStats) {
	const messages = "Messages received from Kafka, by what they were."
	w.counter("offpath_stream_consumed_total", messages, s.Transactions, "kind", "transaction")
	w.counter("offpath_stream_consumed_total", messages, s.Watermarks, "kind", "watermark")
	w.counter("offpath_stream_consumed_total", messages, s.Duplicates, "kind", "duplicate")
	w.counter("offpath_stream_consumed_total", messages, s.Undecodable, "kind", "undecodable")
	w.counter("offpath_stream_known_total", "Transactions read again after a restart that the state held already.", s.Known)
	w.counter("offpath_stream_gaps_total", "Messages that a partition lacks.", s.Gaps)
	w.counter("offpath_stream_late_total", "Transactions that came after their watermark.", s.Late)
	w.counter("offpath_stream_sensors_lost_total", "Sensors that fell too far behind.", s.SensorsLost)
	w.counter("offpath_stream_generations_total", "Times that partitions were assigned.", s.Generations)
	w.gauge("offpath_stream_held", "Transactions held back until their turn.", float64(s.Waiting))
}

func (w writer) published(s stream.VerdictStats) {
	const verdicts = "Verdicts sent to Kafka, by what became of them."
	w.counter("offpath_stream_verdicts_total", verdicts, s.Written, "event", "written")
	w.counter("offpath_stream_verdicts_total", verdicts, s.Shed, "event", "shed")
	w.counter("offpath_stream_retries_total", "Writes that were tried again.", s.Retries, "topic", "verdicts")
}
