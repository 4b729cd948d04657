package metrics

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/capture"
	"offpath/cmd/offpath/internal/evidence"
	"offpath/cmd/offpath/internal/feed"
	"offpath/detect/engine"
	"offpath/detect/stream"
	"offpath/mitigate"
	"offpath/mitigate/controller"
	"offpath/reassembly/pipeline"
	"offpath/reassembly/tls"
)

// everything is a process with all stages there are.
func everything() Books {
	return Books{
		Capture:  func() capture.Stats { return capture.Stats{Received: 7, Frames: [capture.Dispositions]uint64{5, 2}} },
		Pipeline: reassembled,
		Queue:    func() feed.Stats { return feed.Stats{Offered: 3, Shed: 1} },
		Evidence: func() evidence.Stats { return evidence.Stats{Lines: 40, Lost: 3} },
		Engine: func() (engine.Stats, bool) {
			return engine.Stats{Logins: map[string]uint64{"accepted": 2, "rejected": 1}}, true
		},
		Mitigate: func() controller.Stats {
			return controller.Stats{Refused: map[string]uint64{"prefix": 1, "own": 2}, Off: true}
		},
		Targets: func() []controller.Target {
			return []controller.Target{{Name: "lb1", Connected: true, Lag: time.Second, Faults: 7}, {Name: "lb2"}, {Name: "lists", Fetching: &mitigate.Fetching{Denied: 2, Consumers: []mitigate.Consumer{{Name: "fw@192.0.2.1", Behind: 3, Fetches: 4}, {Name: "old@192.0.2.2", Late: true}}}}}
		},
		Producer:  func() stream.ProducerStats { return stream.ProducerStats{} },
		Consumer:  func() stream.ConsumerStats { return stream.ConsumerStats{} },
		Published: func() stream.VerdictStats { return stream.VerdictStats{} },
		Ready:     func() []string { return []string{"not yet"} },
	}
}

// reassembled is what a pipeline may have counted.
func reassembled() (s pipeline.Stats) {
	s.RolesCorrected, s.ClaimsRetracted = 12, 13
	s.ConnectionsTLS, s.ConnectionsProxied, s.ProxyHeadersDisbelieved, s.ConnectionsRefused = 9, 4, 8, 6
	s.HTTP.Requests, s.HTTP2.Requests = 10, 20
	s.HTTP2.StreamsClosed, s.HTTP2.StreamsEvicted, s.HTTP2.StreamsExpired = 6, 1, 2
	s.TLS.Decrypted = 3
	s.TLS.Opaque[tls.ReasonNoSecret] = 5
	s.WebSockets, s.WebSocketServer.Octets = 2, 77
	return s
}

func TestTheBooksOfEveryStageAreShown(t *testing.T) {
	r := New(everything(), "1", "abc")
	r.Refused(30 * time.Millisecond)
	families, err := r.registry.Gather()
	require.NoError(t, err, "names, labels and help texts agree")
	values := map[string]float64{}
	for _, f := range families {
		for _, m := range f.Metric {
			name := f.GetName()
			for _, l := range m.Label {
				name += "," + l.GetName() + "=" + l.GetValue()
			}
			values[name] = m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	for name, want := range map[string]float64{
		"offpath_capture_frames_total":                                      7,
		"offpath_capture_disposition_total,disposition=tcp":                 5,
		"offpath_evidence_lines_total":                                      40,
		"offpath_evidence_lost_total":                                       3,
		"offpath_queue_shed_total":                                          1,
		"offpath_connections_total,protocol=tls":                            9,
		"offpath_connections_proxied_total":                                 4,
		"offpath_connections_refused_total":                                 6,
		"offpath_proxy_headers_disbelieved_total":                           8,
		"offpath_connection_roles_corrected_total":                          12,
		"offpath_connection_claims_retracted_total":                         13,
		"offpath_http_messages_total,kind=request":                          30,
		"offpath_http2_streams_closed_total,reason=ended":                   3,
		"offpath_http2_streams_closed_total,reason=expired":                 2,
		"offpath_tls_decrypted_total":                                       3,
		"offpath_tls_opaque_total,reason=no_secret":                         5,
		"offpath_tls_opaque_total,reason=midstream":                         0,
		"offpath_websocket_connections_total":                               2,
		"offpath_websocket_bytes_total,side=server":                         77,
		"offpath_detect_logins_total,outcome=accepted":                      2,
		"offpath_mitigate_refused_total,rail=own":                           2,
		"offpath_mitigate_off":                                              1,
		"offpath_target_up,target=lb1":                                      1,
		"offpath_target_up,target=lb2":                                      0,
		"offpath_target_consumers,target=lists":                             1,
		"offpath_target_denied_total,target=lists":                          2,
		"offpath_consumer_up,consumer=fw@192.0.2.1,target=lists":            1,
		"offpath_consumer_up,consumer=old@192.0.2.2,target=lists":           0,
		"offpath_consumer_behind,consumer=fw@192.0.2.1,target=lists":        3,
		"offpath_consumer_fetches_total,consumer=fw@192.0.2.1,target=lists": 4,
		"offpath_target_lag_seconds,target=lb1":                             1,
		"offpath_target_faults_total,target=lb1":                            7,
		"offpath_verdict_first_refusal_seconds":                             1,
		"offpath_ready":                                                     0,
		"offpath_build_info,commit=abc,version=1":                           1,
		"offpath_stream_retries_total,topic=verdicts":                       0,
		"offpath_target_verdicts,state=in_force,target=lb1":                 0,
		"offpath_detect_verdicts_total,event=new":                           0,
		"offpath_stream_consumed_total,kind=duplicate":                      0,
		"offpath_stream_produced_total,event=shed":                          0,
		"offpath_detection_responding":                                      1,
		"offpath_capture_dropped_total,by=kernel":                           0,
		"offpath_capture_disposition_total,disposition=not_ip":              2,
	} {
		got, ok := values[name]
		assert.True(t, ok, name)
		assert.InDelta(t, want, got, 0, name)
	}
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	require.NoError(t, err)
	for _, p := range problems {
		assert.Fail(t, p.Metric+": "+p.Text)
	}
}

func TestAnEngineThatDoesNotAnswerIsShownAsSuch(t *testing.T) {
	r := New(Books{Engine: func() (engine.Stats, bool) { return engine.Stats{}, false }}, "1", "abc")
	families, err := r.registry.Gather()
	require.NoError(t, err)
	for _, f := range families {
		assert.NotEqual(t, "offpath_detect_transactions_total", f.GetName())
		if f.GetName() == "offpath_detection_responding" {
			assert.InDelta(t, 0, f.Metric[0].GetGauge().GetValue(), 0)
		}
	}
}
