package stream

import (
	"errors"
	"fmt"
	"net/netip"

	"google.golang.org/protobuf/proto"

	"offpath/detect/stream/schema"
	"offpath/reassembly"
)

// ErrMessage is returned for a message that is no transaction.
var ErrMessage = errors.New("not a transaction")

// Marshal returns the protobuf form of tx, its annotation left out.
func Marshal(tx *reassembly.Transaction) ([]byte, error) {
	m := &schema.Transaction{
		Start: tx.Start, End: tx.End, Duration: known(tx.Duration), Id: tx.ID,
		Source: endpoint(tx.Source), Destination: endpoint(tx.Destination),
		CommunityId: tx.CommunityID, Sequence: int64(tx.Sequence),
		Encapsulation: tx.Encapsulation, HttpVersion: tx.HTTPVersion,
		Request: &schema.Request{
			Method: []byte(tx.Request.Method), Target: []byte(tx.Request.Target), Domain: []byte(tx.Request.Domain),
			Path: []byte(tx.Request.Path), Query: []byte(tx.Request.Query), BodyBytes: known(tx.Request.BodyBytes),
			MimeType: []byte(tx.Request.MIMEType), Referrer: []byte(tx.Request.Referrer), UserAgent: []byte(tx.Request.UserAgent),
			Headers: octets(tx.Request.Headers), Signature: signature(&tx.Request.Signature), Detail: detail(&tx.Request.Detail),
		},
		Auth: auth(&tx.Auth), Operation: []byte(tx.Operation),
		Ja4: tx.JA4, ServerName: []byte(tx.ServerName), Fingerprint: tx.Fingerprint,
		FingerprintLoose: tx.FingerprintLoose, FingerprintWire: tx.FingerprintWire,
		RefusedBy: tx.RefusedBy, Flags: tx.Flags.Names(), Anomalies: tx.Anomalies.Names(),
		GapBytes: tx.GapBytes, Complete: tx.Complete, Sensitive: uint64(tx.Sensitive),
	}
	if tx.Client.IsValid() {
		m.Client = tx.Client.AsSlice()
	}
	for _, id := range tx.VLAN {
		m.Vlan = append(m.Vlan, uint32(id))
	}
	for _, status := range tx.Informational {
		m.Informational = append(m.Informational, int32(status))
	}
	if r := &tx.Response; r.Status != 0 {
		m.Response = &schema.Response{
			Status: int32(r.Status), BodyBytes: known(r.BodyBytes), MimeType: []byte(r.MIMEType),
			Signature: signature(&r.Signature), Detail: detail(&r.Detail),
		}
	}
	if o := tx.OFX; o != nil {
		m.Ofx = &schema.OFX{
			MessageSets: o.MessageSets, StatusCodes: o.StatusCodes, SourceHash: []byte(o.SourceHash),
			DestinationHash: []byte(o.DestinationHash), Amount: o.Amount, Currency: o.Currency,
		}
	}
	if g := tx.GRPC; g != nil {
		m.Grpc = &schema.GRPC{
			Status: known(int64(g.Status)), RequestMessages: known(int64(g.RequestMessages)),
			ResponseMessages: known(int64(g.ResponseMessages)), Partial: g.Partial,
		}
	}
	b, err := proto.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("encode transaction %s: %w", tx.ID, err)
	}
	return b, nil
}

// Unmarshal is the inverse of Marshal. Its error is an ErrMessage.
func Unmarshal(b []byte) (*reassembly.Transaction, error) {
	var m schema.Transaction
	if err := proto.Unmarshal(b, &m); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMessage, err)
	}
	flags, knownFlags := reassembly.FlagsFrom(m.Flags)
	anomalies, knownAnomalies := reassembly.AnomaliesFrom(m.Anomalies)
	if m.Id == "" || !knownFlags || !knownAnomalies || !reassembly.Sensitive(m.Sensitive).Valid() {
		return nil, fmt.Errorf("%w: id %q, flags %q, anomalies %q, sensitive %#x", ErrMessage, m.Id, m.Flags, m.Anomalies, m.Sensitive)
	}
	source, destination := addrPort(m.Source), addrPort(m.Destination)
	if !source.IsValid() || !destination.IsValid() {
		return nil, fmt.Errorf("%w: %s has no valid addresses", ErrMessage, m.Id)
	}
	request := m.GetRequest()
	tx := &reassembly.Transaction{
		Start: m.Start, End: m.End, Duration: orUnknown(m.Duration), ID: m.Id,
		Source: source, Destination: destination,
		CommunityID: m.CommunityId, Sequence: int(m.Sequence), Encapsulation: m.Encapsulation,
		HTTPVersion: m.HttpVersion,
		Request: reassembly.Request{
			Method: string(request.GetMethod()), Target: string(request.GetTarget()), Domain: string(request.GetDomain()),
			Path: string(request.GetPath()), Query: string(request.GetQuery()), BodyBytes: requestBodyBytes(request),
			MIMEType: string(request.GetMimeType()), Referrer: string(request.GetReferrer()), UserAgent: string(request.GetUserAgent()),
			Headers: texts(request.GetHeaders()), Signature: signatureOf(request.GetSignature()), Detail: detailOf(request.GetDetail()),
		},
		Response:  reassembly.Response{BodyBytes: reassembly.Unknown, Signature: signatureOf(nil), Detail: detailOf(nil)},
		Auth:      authOf(m.Auth),
		Operation: string(m.Operation), JA4: m.Ja4, ServerName: string(m.ServerName), Fingerprint: m.Fingerprint,
		FingerprintLoose: m.FingerprintLoose, FingerprintWire: m.FingerprintWire,
		RefusedBy: m.RefusedBy, Flags: flags, Anomalies: anomalies, GapBytes: m.GapBytes, Complete: m.Complete,
		Sensitive: reassembly.Sensitive(m.Sensitive),
	}
	if client, ok := netip.AddrFromSlice(m.Client); ok {
		tx.Client = client
	}
	for _, id := range m.Vlan {
		tx.VLAN = append(tx.VLAN, uint16(id))
	}
	for _, status := range m.Informational {
		tx.Informational = append(tx.Informational, int(status))
	}
	// A response without a status is none: Marshal writes no such message.
	if r := m.Response; r.GetStatus() != 0 {
		tx.Response = reassembly.Response{
			Status: int(r.Status), BodyBytes: orUnknown(r.BodyBytes), MIMEType: string(r.MimeType),
			Signature: signatureOf(r.Signature), Detail: detailOf(r.Detail),
		}
	}
	if o := m.Ofx; o != nil {
		tx.OFX = &reassembly.OFX{
			MessageSets: o.MessageSets, StatusCodes: o.StatusCodes, SourceHash: string(o.SourceHash),
			DestinationHash: string(o.DestinationHash), Amount: o.Amount, Currency: o.Currency,
		}
	}
	if g := m.Grpc; g != nil {
		tx.GRPC = &reassembly.GRPC{
			Status: int(orUnknown(g.Status)), RequestMessages: int(orUnknown(g.RequestMessages)),
			ResponseMessages: int(orUnknown(g.ResponseMessages)), Partial: g.Partial,
		}
	}
	return tx, nil
}

func known(n int64) *int64 {
	if n == reassembly.Unknown {
		return nil
	}
	return &n
}

func orUnknown(n *int64) int64 {
	if n == nil {
		return reassembly.Unknown
	}
	return *n
}

func endpoint(a netip.AddrPort) *schema.Endpoint {
	return &schema.Endpoint{Ip: a.Addr().AsSlice(), Port: uint32(a.Port())}
}

func addrPort(e *schema.Endpoint) netip.AddrPort {
	addr, ok := netip.AddrFromSlice(e.GetIp())
	if !ok || e.GetPort() > 65535 {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(addr, uint16(e.GetPort()))
}

func signature(s *reassembly.Signature) *schema.Signature {
	m := &schema.Signature{
		Media: s.Media, Keys: s.Keys, Order: s.Order, Cookies: octets(s.Cookies),
		Location: []byte(s.Location), Code: []byte(s.Code),
	}
	if s.Length != reassembly.Unknown {
		m.Length = proto.Int32(int32(s.Length))
	}
	return m
}

func signatureOf(m *schema.Signature) reassembly.Signature {
	s := reassembly.Signature{
		Media: m.GetMedia(), Keys: m.GetKeys(), Order: m.GetOrder(), Cookies: texts(m.GetCookies()),
		Location: string(m.GetLocation()), Code: string(m.GetCode()), Length: reassembly.Unknown,
	}
	if m != nil && m.Length != nil {
		s.Length = int(*m.Length)
	}
	return s
}

func detail(d *reassembly.Detail) *schema.Detail {
	m := &schema.Detail{Sha256: d.SHA256, DecodedBytes: known(d.DecodedBytes), HasFields: d.Fields != nil}
	for _, f := range d.Fields {
		m.Fields = append(m.Fields, &schema.HeaderField{Name: []byte(f[0]), Value: []byte(f[1])})
	}
	return m
}

func detailOf(m *schema.Detail) reassembly.Detail {
	if m == nil {
		return reassembly.Detail{DecodedBytes: reassembly.Unknown}
	}
	d := reassembly.Detail{SHA256: m.Sha256, DecodedBytes: orUnknown(m.DecodedBytes)}
	if m.HasFields {
		d.Fields = make([][2]string, len(m.Fields))
		for i, f := range m.Fields {
			d.Fields[i] = [2]string{string(f.Name), string(f.Value)}
		}
	}
	return d
}

func auth(a *reassembly.Auth) *schema.Auth {
	return &schema.Auth{
		Carrier: a.Carrier, UserField: []byte(a.UserField), PasswordField: []byte(a.PasswordField),
		PasswordFields: int64(a.PasswordFields), GrantType: []byte(a.GrantType),
		UserHash: []byte(a.UserHash), PasswordHash: []byte(a.PasswordHash),
		SessionPresented: octets(a.SessionPresented), SessionIssued: octets(a.SessionIssued), ApiKeyHash: []byte(a.APIKeyHash),
		TokenIssued: a.TokenIssued,
	}
}

func authOf(m *schema.Auth) reassembly.Auth {
	return reassembly.Auth{
		Carrier: m.GetCarrier(), UserField: string(m.GetUserField()), PasswordField: string(m.GetPasswordField()),
		PasswordFields: int(m.GetPasswordFields()), GrantType: string(m.GetGrantType()),
		UserHash: string(m.GetUserHash()), PasswordHash: string(m.GetPasswordHash()),
		SessionPresented: texts(m.GetSessionPresented()), SessionIssued: texts(m.GetSessionIssued()), APIKeyHash: string(m.GetApiKeyHash()),
		TokenIssued: m.GetTokenIssued(),
	}
}

func octets(list []string) [][]byte {
	var out [][]byte
	for _, s := range list {
		out = append(out, []byte(s))
	}
	return out
}

func texts(list [][]byte) []string {
	var out []string
	for _, b := range list {
		out = append(out, string(b))
	}
	return out
}

func requestBodyBytes(m *schema.Request) int64 {
	if m == nil {
		return reassembly.Unknown
	}
	return orUnknown(m.BodyBytes)
}
