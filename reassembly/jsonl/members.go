package jsonl

import (
	"math"
	"net/netip"

	"offpath/reassembly"
	"offpath/reassembly/internal/jsonscan"
)

// top and those below read the member called key of one object of a line.

func (r *Reader) top(tx *reassembly.Transaction, key []byte) {
	switch string(key) {
	case "@timestamp":
		r.start = r.time(key, &tx.Start)
	case "event":
		r.object(tx, key, (*Reader).event)
	case "source":
		r.object(tx, key, (*Reader).source)
	case "destination":
		r.object(tx, key, (*Reader).destination)
	case "client":
		r.object(tx, key, (*Reader).client)
	case "network":
		r.object(tx, key, (*Reader).network)
	case "http":
		r.object(tx, key, (*Reader).http)
	case "url":
		r.object(tx, key, (*Reader).url)
	case "user_agent":
		r.object(tx, key, (*Reader).userAgent)
	case "tls":
		r.object(tx, key, (*Reader).tls)
	case "user":
		r.object(tx, key, (*Reader).user)
	case "offpath":
		r.object(tx, key, (*Reader).offpath)
	default:
		r.skip()
	}
}

func (r *Reader) event(tx *reassembly.Transaction, key []byte) {
	switch string(key) {
	case "id":
		r.str(key, &tx.ID)
	case "duration":
		r.int64(key, math.MinInt64, &tx.Duration)
	case "end":
		r.hasEnd = r.time(key, &tx.End)
	case "outcome":
		r.str(key, &tx.Annotation.EventOutcome)
	case "action":
		r.action = true
		r.skip()
	default:
		r.skip()
	}
}

func (r *Reader) source(tx *reassembly.Transaction, key []byte) { r.endpoint(&tx.Source, key) }

func (r *Reader) destination(tx *reassembly.Transaction, key []byte) {
	r.endpoint(&tx.Destination, key)
}

func (r *Reader) endpoint(dst *netip.AddrPort, key []byte) {
	switch addr, port := dst.Addr(), int(dst.Port()); string(key) {
	case "ip":
		r.addr(key, &addr)
		*dst = netip.AddrPortFrom(addr, uint16(port))
	case "port":
		r.int(key, 0, math.MaxUint16, &port)
		*dst = netip.AddrPortFrom(addr, uint16(port))
	default:
		r.skip()
	}
}

func (r *Reader) client(tx *reassembly.Transaction, key []byte) {
	if string(key) == "ip" {
		r.addr(key, &tx.Client)
	} else {
		r.skip()
	}
}

func (r *Reader) network(tx *reassembly.Transaction, key []byte) {
	switch string(key) {
	case "community_id":
		r.str(key, &tx.CommunityID)
	case "vlan":
		r.object(tx, key, (*Reader).vlan)
	default:
		r.skip()
	}
}

func (r *Reader) vlan(tx *reassembly.Transaction, key []byte) {
	if string(key) != "id" {
		r.skip()
		return
	}
	tx.VLAN = nil
	r.elements(key, func(t jsonscan.Token, raw []byte) {
		id, err := parseInteger(string(raw))
		if t != jsonscan.Number || err != nil || id < 0 || id > math.MaxUint16 {
			r.wrong(key, "a list of VLAN identifiers")
			return
		}
		tx.VLAN = append(tx.VLAN, uint16(id))
	})
}

func (r *Reader) http(tx *reassembly.Transaction, key []byte) {
	switch string(key) {
	case "version":
		r.str(key, &tx.HTTPVersion)
	case "request":
		r.object(tx, key, (*Reader).httpRequest)
	case "response":
		r.object(tx, key, (*Reader).httpResponse)
	default:
		r.skip()
	}
}

func (r *Reader) httpRequest(tx *reassembly.Transaction, key []byte) {
	switch string(key) {
	case "method":
		r.str(key, &tx.Request.Method)
	case "body":
		r.object(tx, key, (*Reader).requestBody)
	case "mime_type":
		r.str(key, &tx.Request.MIMEType)
	case "referrer":
		r.str(key, &tx.Request.Referrer)
	default:
		r.skip()
	}
}

func (r *Reader) httpResponse(tx *reassembly.Transaction, key []byte) {
	switch string(key) {
	case "body":
		r.object(tx, key, (*Reader).responseBody)
	case "mime_type":
		r.str(key, &tx.Response.MIMEType)
	case "status_code":
		r.int(key, math.MinInt32, math.MaxInt32, &tx.Response.Status)
	default:
		r.skip()
	}
}

func (r *Reader) requestBody(tx *reassembly.Transaction, key []byte) {
	switch string(key) {
	case "bytes":
		r.int64(key, math.MinInt64, &tx.Request.BodyBytes)
	case "hash":
		r.object(tx, key, (*Reader).requestHash)
	default:
		r.skip()
	}
}

func (r *Reader) responseBody(tx *reassembly.Transaction, key []byte) {
	switch string(key) {
	case "bytes":
		r.int64(key, math.MinInt64, &tx.Response.BodyBytes)
	case "hash":
		r.object(tx, key, (*Reader).responseHash)
	default:
		r.skip()
	}
}

func (r *Reader) requestHash(tx *reassembly.Transaction, key []byte) {
	r.hash(&tx.Request.Detail, key)
}

func (r *Reader) responseHash(tx *reassembly.Transaction, key []byte) {
	r.hash(&tx.Response.Detail, key)
}

func (r *Reader) hash(d *reassembly.Detail, key []byte) {
	if string(key) == "sha256" {
		r.str(key, &d.SHA256)
	} else {
		r.skip()
	}
}

func (r *Reader) url(tx *reassembly.Transaction, key []byte) {
	switch string(key) {
	case "original":
		r.str(key, &tx.Request.Target)
	case "domain":
		r.str(key, &tx.Request.Domain)
	case "path":
		r.str(key, &tx.Request.Path)
	case "query":
		r.str(key, &tx.Request.Query)
	default:
		r.skip()
	}
}

func (r *Reader) userAgent(tx *reassembly.Transaction, key []byte) {
	if string(key) == "original" {
		r.str(key, &tx.Request.UserAgent)
	} else {
		r.skip()
	}
}

func (r *Reader) tls(tx *reassembly.Transaction, key []byte) {
	if string(key) == "client" {
		r.object(tx, key, (*Reader).tlsClient)
	} else {
		r.skip()
	}
}

func (r *Reader) tlsClient(tx *reassembly.Transaction, key []byte) {
	switch string(key) {
	case "ja4":
		r.str(key, &tx.JA4)
	case "server_name":
		r.str(key, &tx.ServerName)
	default:
		r.skip()
	}
}

func (r *Reader) user(tx *reassembly.Transaction, key []byte) {
	if string(key) == "hash" {
		r.str(key, &tx.Auth.UserHash)
	} else {
		r.skip()
	}
}

func (r *Reader) offpath(tx *reassembly.Transaction, key []byte) {
	switch string(key) {
	case "sequence":
		r.int(key, math.MinInt64, math.MaxInt64, &tx.Sequence)
	case "fingerprint":
		r.str(key, &tx.Fingerprint)
	case "fingerprint_loose":
		r.str(key, &tx.FingerprintLoose)
	case "fingerprint_wire":
		r.str(key, &tx.FingerprintWire)
	case "request":
		r.object(tx, key, (*Reader).offpathRequest)
	case "response":
		r.object(tx, key, (*Reader).offpathResponse)
	case "auth":
		r.object(tx, key, (*Reader).auth)
	case "ofx":
		tx.OFX = new(reassembly.OFX)
		if !r.object(tx, key, (*Reader).ofx) {
			tx.OFX = nil
		}
	case "grpc":
		tx.GRPC = &reassembly.GRPC{
			Status: reassembly.Unknown, RequestMessages: reassembly.Unknown, ResponseMessages: reassembly.Unknown,
		}
		if !r.object(tx, key, (*Reader).grpc) {
			tx.GRPC = nil
		}
	case "operation":
		r.str(key, &tx.Operation)
	case "informational":
		r.informational(tx, key)
	case "refused_by":
		r.str(key, &tx.RefusedBy)
	case "flags":
		tx.Flags, _ = reassembly.FlagsFrom(r.names(key))
	case "encapsulation":
		r.list(key, &tx.Encapsulation)
	case "gap_bytes":
		r.int64(key, math.MinInt64, &tx.GapBytes)
	case "complete":
		r.bool(key, &tx.Complete)
	case "anomalies":
		tx.Anomalies, _ = reassembly.AnomaliesFrom(r.names(key))
	case "sensitive":
		tx.Sensitive, _ = reassembly.SensitiveFrom(r.names(key))
	case "outcome":
		r.str(key, &tx.Annotation.Outcome)
	case "endpoint":
		r.str(key, &tx.Annotation.Endpoint)
	case "role":
		r.str(key, &tx.Annotation.Role)
	default:
		r.skip()
	}
}

func (r *Reader) informational(tx *reassembly.Transaction, key []byte) {
	tx.Informational = nil
	r.elements(key, func(t jsonscan.Token, raw []byte) {
		status, err := parseInteger(string(raw))
		if t != jsonscan.Number || err != nil || status != int64(int32(status)) {
			r.wrong(key, "a list of statuses")
			return
		}
		tx.Informational = append(tx.Informational, int(status))
	})
}

func (r *Reader) offpathRequest(tx *reassembly.Transaction, key []byte) {
	switch string(key) {
	case "headers":
		r.list(key, &tx.Request.Headers)
	case "signature":
		r.object(tx, key, (*Reader).requestSignature)
	default:
		r.detail(&tx.Request.Detail, key)
	}
}

func (r *Reader) offpathResponse(tx *reassembly.Transaction, key []byte) {
	if string(key) == "signature" {
		r.object(tx, key, (*Reader).responseSignature)
	} else {
		r.detail(&tx.Response.Detail, key)
	}
}

func (r *Reader) detail(d *reassembly.Detail, key []byte) {
	switch string(key) {
	case "header_fields":
		r.fields(key, &d.Fields)
	case "decoded_bytes":
		r.int64(key, math.MinInt64, &d.DecodedBytes)
	default:
		r.skip()
	}
}

func (r *Reader) requestSignature(tx *reassembly.Transaction, key []byte) {
	r.signature(&tx.Request.Signature, key)
}

func (r *Reader) responseSignature(tx *reassembly.Transaction, key []byte) {
	r.signature(&tx.Response.Signature, key)
}

func (r *Reader) signature(s *reassembly.Signature, key []byte) {
	switch string(key) {
	case "media":
		r.str(key, &s.Media)
	case "keys":
		r.str(key, &s.Keys)
	case "order":
		r.str(key, &s.Order)
	case "cookies":
		r.list(key, &s.Cookies)
	case "location":
		r.str(key, &s.Location)
	case "code":
		r.str(key, &s.Code)
	case "length":
		r.int(key, math.MinInt64, math.MaxInt64, &s.Length)
	default:
		r.skip()
	}
}

func (r *Reader) auth(tx *reassembly.Transaction, key []byte) {
	switch a := &tx.Auth; string(key) {
	case "carrier":
		r.str(key, &a.Carrier)
	case "user_field":
		r.str(key, &a.UserField)
	case "password_field":
		r.str(key, &a.PasswordField)
	case "password_fields":
		r.int(key, math.MinInt64, math.MaxInt64, &a.PasswordFields)
	case "grant_type":
		r.str(key, &a.GrantType)
	case "password_hash":
		r.str(key, &a.PasswordHash)
	case "session_presented":
		r.list(key, &a.SessionPresented)
	case "session_issued":
		r.list(key, &a.SessionIssued)
	case "token_issued":
		r.bool(key, &a.TokenIssued)
		r.token = true
	case "api_key_hash":
		r.str(key, &a.APIKeyHash)
	default:
		r.skip()
	}
}

func (r *Reader) ofx(tx *reassembly.Transaction, key []byte) {
	switch o := tx.OFX; string(key) {
	case "message_sets":
		r.list(key, &o.MessageSets)
	case "status_codes":
		r.list(key, &o.StatusCodes)
	case "source_hash":
		r.str(key, &o.SourceHash)
	case "destination_hash":
		r.str(key, &o.DestinationHash)
	case "amount":
		r.str(key, &o.Amount)
	case "currency":
		r.str(key, &o.Currency)
	default:
		r.skip()
	}
}

func (r *Reader) grpc(tx *reassembly.Transaction, key []byte) {
	switch g := tx.GRPC; string(key) {
	case "status":
		r.int(key, math.MinInt64, math.MaxInt64, &g.Status)
	case "request_messages":
		r.int(key, math.MinInt64, math.MaxInt64, &g.RequestMessages)
	case "response_messages":
		r.int(key, math.MinInt64, math.MaxInt64, &g.ResponseMessages)
	case "partial":
		r.bool(key, &g.Partial)
	default:
		r.skip()
	}
}
