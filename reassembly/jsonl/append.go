package jsonl

import (
	"net/netip"
	"strconv"

	"offpath/reassembly"
)

// AppendTransaction appends tx as one line, with its line feed.
func AppendTransaction(dst []byte, tx *reassembly.Transaction) []byte {
	b := append(dst, `{"@timestamp":`...)
	start := len(b)
	b = appendTime(b, tx.Start)
	b = appendEvent(b, tx, start)
	b = appendEndpoint(b, `,"source":{"ip":"`, tx.Source)
	b = appendEndpoint(b, `,"destination":{"ip":"`, tx.Destination)
	if tx.Client.IsValid() {
		b = append(b, `,"client":{"ip":"`...)
		b = append(tx.Client.AppendTo(b), `"}`...)
	}
	b = appendNetwork(b, tx)
	b = appendHTTP(b, tx)
	b, url := open(b, `,"url":{`)
	b = str(b, `,"original":`, tx.Request.Target)
	b = str(b, `,"domain":`, tx.Request.Domain)
	b = str(b, `,"path":`, tx.Request.Path)
	b = str(b, `,"query":`, tx.Request.Query)
	b = end(b, url)
	if tx.Request.UserAgent != "" {
		b = AppendString(append(b, `,"user_agent":{"original":`...), tx.Request.UserAgent)
		b = append(b, '}')
	}
	if tx.JA4 != "" || tx.ServerName != "" {
		b = append(b, `,"tls":{"client":{`...)
		b = str(b, `,"ja4":`, tx.JA4)
		b = str(b, `,"server_name":`, tx.ServerName)
		b = append(b, "}}"...)
	}
	if tx.Auth.UserHash != "" {
		b = AppendString(append(b, `,"user":{"hash":`...), tx.Auth.UserHash)
		b = append(b, '}')
	}
	b = appendOffpath(b, tx)
	return append(b, "}\n"...)
}

// appendEvent needs to know where the text of tx.Start begins.
func appendEvent(b []byte, tx *reassembly.Transaction, start int) []byte {
	b = append(b, `,"event":{`...)
	b = str(b, `,"id":`, tx.ID)
	b = known(b, `,"duration":`, tx.Duration)
	b = appendLaterTime(key(b, `,"end":`), tx.End, tx.Start, start)
	b = str(b, `,"outcome":`, tx.Annotation.EventOutcome)
	return append(b, '}')
}

func appendEndpoint(b []byte, opening string, at netip.AddrPort) []byte {
	if !at.Addr().IsValid() {
		return b
	}
	b = append(b, opening...)
	b = append(at.Addr().AppendTo(b), `","port":`...)
	return append(strconv.AppendUint(b, uint64(at.Port()), 10), '}')
}

func appendNetwork(b []byte, tx *reassembly.Transaction) []byte {
	b = append(b, `,"network":{`...)
	b = str(b, `,"community_id":`, tx.CommunityID)
	b = key(b, `,"protocol":"http"`)
	if len(tx.VLAN) > 0 {
		b = append(b, `,"vlan":{"id":[`...)
		for i, id := range tx.VLAN {
			if i > 0 {
				b = append(b, ',')
			}
			b = strconv.AppendUint(b, uint64(id), 10)
		}
		b = append(b, "]}"...)
	}
	return append(b, '}')
}

func appendHTTP(b []byte, tx *reassembly.Transaction) []byte {
	b, http := open(b, `,"http":{`)
	b = str(b, `,"version":`, tx.HTTPVersion)
	b, req := open(b, `,"request":{`)
	b = str(b, `,"method":`, tx.Request.Method)
	b = appendBody(b, tx.Request.BodyBytes, tx.Request.Detail.SHA256)
	b = str(b, `,"mime_type":`, tx.Request.MIMEType)
	b = str(b, `,"referrer":`, tx.Request.Referrer)
	b = end(b, req)
	b, res := open(b, `,"response":{`)
	b = appendBody(b, tx.Response.BodyBytes, tx.Response.Detail.SHA256)
	b = str(b, `,"mime_type":`, tx.Response.MIMEType)
	if tx.Response.Status != 0 {
		b = strconv.AppendInt(key(b, `,"status_code":`), int64(tx.Response.Status), 10)
	}
	b = end(b, res)
	return end(b, http)
}

func appendBody(b []byte, octets int64, sha256 string) []byte {
	b, body := open(b, `,"body":{`)
	b = known(b, `,"bytes":`, octets)
	if sha256 != "" {
		b = AppendString(key(b, `,"hash":{"sha256":`), sha256)
		b = append(b, '}')
	}
	return end(b, body)
}

func appendOffpath(b []byte, tx *reassembly.Transaction) []byte {
	b = append(b, `,"offpath":{"sequence":`...)
	b = strconv.AppendInt(b, int64(tx.Sequence), 10)
	b = str(b, `,"fingerprint":`, tx.Fingerprint)
	b = str(b, `,"fingerprint_loose":`, tx.FingerprintLoose)
	b = str(b, `,"fingerprint_wire":`, tx.FingerprintWire)

	b, req := open(b, `,"request":{`)
	b = list(b, `,"headers":`, tx.Request.Headers)
	b = appendSignature(b, &tx.Request.Signature)
	b = appendDetail(b, &tx.Request.Detail)
	b = end(b, req)
	b, res := open(b, `,"response":{`)
	b = appendSignature(b, &tx.Response.Signature)
	b = appendDetail(b, &tx.Response.Detail)
	b = end(b, res)

	b = appendAuth(b, &tx.Auth)
	b = appendOFX(b, tx.OFX)
	b = str(b, `,"operation":`, tx.Operation)
	if len(tx.Informational) > 0 {
		b = key(b, `,"informational":[`)
		for i, status := range tx.Informational {
			if i > 0 {
				b = append(b, ',')
			}
			b = strconv.AppendInt(b, int64(status), 10)
		}
		b = append(b, ']')
	}
	b = str(b, `,"refused_by":`, tx.RefusedBy)
	if tx.Flags != 0 {
		b = list(b, `,"flags":`, tx.Flags.Names())
	}
	b = list(b, `,"encapsulation":`, tx.Encapsulation)
	if tx.GapBytes != 0 {
		b = strconv.AppendInt(key(b, `,"gap_bytes":`), tx.GapBytes, 10)
	}
	b = strconv.AppendBool(key(b, `,"complete":`), tx.Complete)
	if tx.Anomalies != 0 {
		b = list(b, `,"anomalies":`, tx.Anomalies.Names())
	}
	b = str(b, `,"outcome":`, tx.Annotation.Outcome)
	b = str(b, `,"endpoint":`, tx.Annotation.Endpoint)
	b = str(b, `,"role":`, tx.Annotation.Role)
	return append(b, '}')
}

func appendSignature(b []byte, s *reassembly.Signature) []byte {
	b, sig := open(b, `,"signature":{`)
	b = str(b, `,"media":`, s.Media)
	b = str(b, `,"keys":`, s.Keys)
	b = str(b, `,"order":`, s.Order)
	b = list(b, `,"cookies":`, s.Cookies)
	b = str(b, `,"location":`, s.Location)
	b = str(b, `,"code":`, s.Code)
	b = known(b, `,"length":`, int64(s.Length))
	return end(b, sig)
}

func appendDetail(b []byte, d *reassembly.Detail) []byte {
	if d.Fields != nil {
		b = key(b, `,"header_fields":[`)
		for i, f := range d.Fields {
			if i > 0 {
				b = append(b, ',')
			}
			b = AppendString(append(b, '['), f[0])
			b = AppendString(append(b, ','), f[1])
			b = append(b, ']')
		}
		b = append(b, ']')
	}
	return known(b, `,"decoded_bytes":`, d.DecodedBytes)
}

func appendAuth(b []byte, a *reassembly.Auth) []byte {
	b, auth := open(b, `,"auth":{`)
	b = str(b, `,"carrier":`, a.Carrier)
	b = str(b, `,"user_field":`, a.UserField)
	b = str(b, `,"password_field":`, a.PasswordField)
	if a.Carrier != "" || a.PasswordFields != 0 {
		b = strconv.AppendInt(key(b, `,"password_fields":`), int64(a.PasswordFields), 10)
	}
	b = str(b, `,"grant_type":`, a.GrantType)
	b = str(b, `,"password_hash":`, a.PasswordHash)
	b = list(b, `,"session_presented":`, a.SessionPresented)
	b = list(b, `,"session_issued":`, a.SessionIssued)
	b = str(b, `,"api_key_hash":`, a.APIKeyHash)
	return end(b, auth)
}

func appendOFX(b []byte, o *reassembly.OFX) []byte {
	if o == nil {
		return b
	}
	b = key(b, `,"ofx":{`)
	b = list(b, `,"message_sets":`, o.MessageSets)
	b = list(b, `,"status_codes":`, o.StatusCodes)
	b = str(b, `,"source_hash":`, o.SourceHash)
	b = str(b, `,"destination_hash":`, o.DestinationHash)
	b = str(b, `,"amount":`, o.Amount)
	b = str(b, `,"currency":`, o.Currency)
	return append(b, '}')
}

// key appends a member's name, or more of its beginning, given with the comma
// before it; the comma is left out if the object has just been opened.
func key(b []byte, name string) []byte {
	if b[len(b)-1] == '{' {
		name = name[1:]
	}
	return append(b, name...)
}

// open begins an object as a member; end closes it, or takes it back if it is
// empty.
func open(b []byte, opening string) ([]byte, int) {
	at := len(b)
	return key(b, opening), at
}

func end(b []byte, at int) []byte {
	if b[len(b)-1] == '{' {
		return b[:at]
	}
	return append(b, '}')
}

// str appends a string member, unless it is not known.
func str(b []byte, name, s string) []byte {
	if s == "" {
		return b
	}
	return AppendString(key(b, name), s)
}

// known appends an integer member, unless it is not known.
func known(b []byte, name string, v int64) []byte {
	if v == reassembly.Unknown {
		return b
	}
	return strconv.AppendInt(key(b, name), v, 10)
}

// list appends a list of strings as a member, unless it is empty.
func list(b []byte, name string, list []string) []byte {
	if len(list) == 0 {
		return b
	}
	b = append(key(b, name), '[')
	for i, s := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = AppendString(b, s)
	}
	return append(b, ']')
}
