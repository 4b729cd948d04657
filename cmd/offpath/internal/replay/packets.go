package replay

import (
	"context"

	"offpath/capture"
	"offpath/capture/pcapfile"
	"offpath/cmd/offpath/internal/wiring"
	"offpath/reassembly/pipeline"
	"offpath/reassembly/tcp"
	"offpath/reassembly/tls"
)

// packets is input of captures.
type packets struct {
	options  *Options
	source   *pcapfile.Source
	secrets  tls.Config
	pipeline *pipeline.Pipeline // set by run
}

func openPackets(o *Options, p *progress) (*packets, error) {
	secrets, err := openSecrets(o)
	if err != nil {
		return nil, err
	}
	source, err := pcapfile.Open(o.Inputs, pcapfile.Options{
		Workers:  o.Workers,
		From:     o.Window.From,
		To:       o.Window.To,
		Speed:    o.Speed,
		Tunnels:  o.Config.Capture.Tunnels,
		Secret:   o.Key,
		Progress: p.show,
		Stdin:    o.Stdin,
	})
	if err != nil {
		return nil, &InputError{err}
	}
	for _, path := range source.Skipped() {
		o.Log.Info().Str("file", path).Msg(path + " is no capture and is left out")
	}
	return &packets{options: o, source: source, secrets: secrets}, nil
}

// openSecrets reads what there is to decrypt with, all of it before the first
// packet. Sessions that are resumed are remembered by one worker for another:
// where that may matter there is but one, lest the output depends on their pace.
func openSecrets(o *Options) (tls.Config, error) {
	secrets, err := wiring.TLS(o.Config, o.KeyLog != "")
	if err != nil {
		return secrets, &InputError{err}
	}
	secrets.Complete = true
	if secrets.Keys != nil {
		o.Workers = 1
	}
	if o.KeyLog != "" {
		if err := wiring.AddKeyLog(secrets.Secrets, o.KeyLog); err != nil {
			return secrets, &InputError{err}
		}
	}
	return secrets, nil
}

func (p *packets) run(ctx context.Context, feed wiring.Feed) error {
	o := p.options
	var err error
	detail := o.Detail
	detail.Sensitive = detail.Sensitive || o.Sitemap != "" || o.Config.Reassembly.Sensitive
	p.pipeline, err = wiring.Pipeline(o.Config, o.Key, p.source.Workers(), wiring.Extras{
		Detail: detail, Cleartext: o.Cleartext, TLS: p.secrets,
	}, feed)
	if err != nil {
		return err
	}
	err = p.source.Run(ctx, p.pipeline.Handle)
	p.pipeline.Close()
	return err
}

func (p *packets) stats() *capture.Stats {
	s := p.source.Stats()
	return &s
}

// secured tells how many connections were encrypted (TLS), and how many of them
// were decrypted.
func (p *packets) secured() (all, decrypted uint64) {
	s := p.pipeline.Stats()
	return s.ConnectionsTLS, s.TLS.Decrypted
}

// losses lists frames that could not be used, and what the pipeline lacked.
func (p *packets) losses() []loss {
	s := p.source.Stats()
	var list []loss
	for d, n := range s.Frames {
		switch d := capture.Disposition(d); d {
		case capture.DispositionTCP, capture.DispositionQUIC, capture.DispositionNotIP, capture.DispositionNotTCP, capture.DispositionFragment:
		default:
			list = append(list, loss{"frames not used: " + d.String(), n})
		}
	}
	f := s.Fragments
	r := p.pipeline.Stats()
	secured, withoutKey := r.ConnectionsTLS, r.TLS.Opaque[tls.ReasonNoSecret]
	return append(list,
		loss{"IP datagrams not put together from their fragments", f.Expired + f.Conflicting + f.Evicted},
		loss{"octets missing in connections", r.TCP.Gap},
		loss{"octets that belong to no HTTP message", r.HTTP.SkippedOctets + r.HTTP2.SkippedOctets},
		loss{"heads of messages not seen whole", r.HTTP.HeadsLost + r.HTTP2.HeadsLost},
		loss{"header fields of HTTP/2 not known", r.HTTP2.FieldsUnknown},
		loss{"responses without their requests", r.ResponsesUnpaired + r.ResponsesUnsolicited},
		loss{"messages given up for want of room", r.RequestsAbandoned + r.ResponsesAbandoned + r.QueueOverflows},
		loss{"connections not read on for want of room", r.ConnectionsRefused},
		loss{"connections evicted", r.TCP.FlowsClosed[tcp.ReasonEvicted]},
		loss{"connections encrypted (TLS), without a key", withoutKey},
		loss{"connections encrypted (TLS), not readable", secured - min(secured, r.TLS.Decrypted+withoutKey)},
		loss{"sides of WebSockets not counted", r.WebSocketClient.Partial + r.WebSocketServer.Partial},
		loss{"frames cut by the snap length", s.SnapLengthCut},
		loss{"inputs damaged or cut short", s.DamagedInputs},
	)
}
