package content

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/reassembly"
)

const (
	ofx1 = "OFXHEADER:100\r\nDATA:OFXSGML\r\nVERSION:102\r\nSECURITY:NONE\r\nENCODING:USASCII\r\nCHARSET:1252\r\nCOMPRESSION:NONE\r\nOLDFILEUID:NONE\r\nNEWFILEUID:NONE\r\n\r\n"
	ofx2 = `<?xml version="1.0" encoding="UTF-8" standalone="no"?><?OFX OFXHEADER="200" VERSION="211" SECURITY="NONE" OLDFILEUID="NONE" NEWFILEUID="NONE"?>`

	sonrq    = "<SIGNONMSGSRQV1><SONRQ><DTCLIENT>20261122120000<USERID>Alice<USERPASS>p@ss<LANGUAGE>ENG<FI><ORG>NB<FID>4711</FI><APPID>QWIN<APPVER>2700</SONRQ></SIGNONMSGSRQV1>"
	sonrq2   = "<SIGNONMSGSRQV1><SONRQ><DTCLIENT>20261122120000</DTCLIENT><USERID>Alice</USERID><USERPASS>p&#64;ss</USERPASS><LANGUAGE>ENG</LANGUAGE></SONRQ></SIGNONMSGSRQV1>"
	transfer = "<BANKMSGSRQV1><INTRATRNRQ><TRNUID>1<INTRARQ><XFERINFO><BANKACCTFROM><BANKID>121099999<ACCTID>999988<ACCTTYPE>CHECKING</BANKACCTFROM>" +
		"<BANKACCTTO><BANKID>121099999<ACCTID>999977<ACCTTYPE>SAVINGS</BANKACCTTO><TRNAMT>200.00<DTDUE>20261123</XFERINFO></INTRARQ></INTRATRNRQ></BANKMSGSRQV1>"
	statement = "<BANKMSGSRQV1><STMTTRNRQ><TRNUID>1<STMTRQ><BANKACCTFROM><BANKID>121099999<ACCTID>999988<ACCTTYPE>CHECKING</BANKACCTFROM></STMTRQ></STMTTRNRQ></BANKMSGSRQV1>"
)

func ofxRequest(e *Extractor, body string) *reassembly.Transaction {
	return request(e, "POST /ofx HTTP/1.1\nHost: h\nContent-Type: application/x-ofx\n\n"+body)
}

func TestOFXRequests(t *testing.T) {
	e := newExtractor(t, nil)
	account := func(s string) string { return e.Hash(KindAccount, []byte(s)) }
	auth := reassembly.Auth{Carrier: "ofx", UserField: "USERID", PasswordField: "USERPASS", PasswordFields: 1,
		UserHash: account("alice"), PasswordHash: e.Hash(KindPassword, []byte("p@ss"))}
	session := func(tokens ...string) reassembly.Auth {
		a := auth
		a.SessionPresented = hashes(e, tokens...)
		return a
	}
	both := []string{"SIGNONMSGSRQV1", "BANKMSGSRQV1"}
	for _, c := range []struct {
		name, body, operation string
		auth                  reassembly.Auth
		ofx                   reassembly.OFX
	}{
		{"a sign-on alone", ofx1 + "<OFX>" + sonrq + "</OFX>", "SIGNONMSGSRQV1", auth, reassembly.OFX{MessageSets: both[:1]}},
		{"a statement", ofx1 + "<OFX>" + sonrq + statement + "</OFX>", "BANKMSGSRQV1", auth, reassembly.OFX{MessageSets: both}},
		{"a transfer", ofx1 + "<OFX>" + sonrq + transfer + "</OFX>", "BANKMSGSRQV1", auth,
			reassembly.OFX{MessageSets: both, SourceHash: account("999988"), DestinationHash: account("999977"), Amount: "200.00"}},
		{"a transfer with line breaks, in lower case", strings.ReplaceAll(strings.ToLower(ofx1+"<ofx>"+sonrq+transfer+"</ofx>"), "<", "\r\n  <"), "BANKMSGSRQV1", auth,
			reassembly.OFX{MessageSets: both, SourceHash: account("999988"), DestinationHash: account("999977"), Amount: "200.00"}},
		{"XML, with end tags, a currency and a credit card", ofx2 + "<OFX>" + sonrq2 + "<CREDITCARDMSGSRQV1><INTERTRNRQ><INTERRQ><XFERINFO><BANKACCTFROM><BANKID>1</BANKID><ACCTID>999988</ACCTID></BANKACCTFROM>" +
			"<CCACCTTO><ACCTID>4111111111111111</ACCTID></CCACCTTO><TRNAMT>-1200,50</TRNAMT><CURRENCY><CURRATE>1.0</CURRATE><CURSYM>EUR</CURSYM></CURRENCY></XFERINFO></INTERRQ></INTERTRNRQ></CREDITCARDMSGSRQV1></OFX>",
			"CREDITCARDMSGSRQV1", auth,
			reassembly.OFX{MessageSets: []string{"SIGNONMSGSRQV1", "CREDITCARDMSGSRQV1"}, SourceHash: account("999988"), DestinationHash: account("4111111111111111"), Amount: "-1200,50", Currency: "EUR"}},
		{"a wire", ofx1 + "<OFX>" + sonrq + "<WIREXFERMSGSRQV1><WIRETRNRQ><WIRERQ><BANKACCTFROM><ACCTID>1</BANKACCTFROM><WIREBENEFICIARY><NAME>Bob<BANKACCTTO><ACCTID>2</BANKACCTTO></WIREBENEFICIARY><TRNAMT>5</WIRERQ></WIRETRNRQ></WIREXFERMSGSRQV1></OFX>",
			"WIREXFERMSGSRQV1", auth, reassembly.OFX{MessageSets: []string{"SIGNONMSGSRQV1", "WIREXFERMSGSRQV1"}, SourceHash: account("1"), DestinationHash: account("2"), Amount: "5"}},
		{"a payment to somebody without a bank account", ofx1 + "<OFX>" + sonrq + "<BILLPAYMSGSRQV1><PMTTRNRQ><PMTRQ><PMTINFO><BANKACCTFROM><ACCTID>1</BANKACCTFROM><TRNAMT>5<PAYEE><NAME>Gas</PAYEE><PAYACCT>77</PMTINFO></PMTRQ></PMTTRNRQ></BILLPAYMSGSRQV1></OFX>",
			"BILLPAYMSGSRQV1", auth, reassembly.OFX{MessageSets: []string{"SIGNONMSGSRQV1", "BILLPAYMSGSRQV1"}, SourceHash: account("1"), DestinationHash: account("77"), Amount: "5"}},
		{"of two transfers the first", ofx1 + "<OFX>" + sonrq + transfer + strings.ReplaceAll(transfer, "9999", "8888") + "</OFX>", "BANKMSGSRQV1", auth,
			reassembly.OFX{MessageSets: append(both, "BANKMSGSRQV1"), SourceHash: account("999988"), DestinationHash: account("999977"), Amount: "200.00"}},
		{"session cookie and key", ofx1 + "<OFX>" + strings.Replace(sonrq, "<LANGUAGE>", "<USERKEY>k123<SESSCOOKIE>c456<CLIENTUID>u789<LANGUAGE>", 1) + "</OFX>", "SIGNONMSGSRQV1",
			session("k123", "c456"), reassembly.OFX{MessageSets: both[:1]}},
		{"a change of password", ofx1 + "<OFX>" + strings.Replace(sonrq, "</SONRQ>", "</SONRQ><PINCHTRNRQ><PINCHRQ><USERID>alice<NEWUSERPASS>new</PINCHRQ></PINCHTRNRQ>", 1) + "</OFX>", "SIGNONMSGSRQV1",
			func() reassembly.Auth { a := auth; a.PasswordFields = 2; return a }(), reassembly.OFX{MessageSets: both[:1]}},
		{"the anonymous user asks for a profile", ofx1 + "<OFX>" + strings.NewReplacer("Alice", "anonymous00000000000000000000000", "p@ss", "anonymous00000000000000000000000").Replace(sonrq) + "<PROFMSGSRQV1><PROFTRNRQ></PROFTRNRQ></PROFMSGSRQV1></OFX>",
			"PROFMSGSRQV1", reassembly.Auth{}, reassembly.OFX{MessageSets: []string{"SIGNONMSGSRQV1", "PROFMSGSRQV1"}}},
		{"empty elements and aggregates without end", "<OFX><SIGNONMSGSRQV1><SONRQ><FI><USERID>alice<APPKEY><USERPASS>p@ss<MEMO></SONRQ>" + transfer, "BANKMSGSRQV1", auth,
			reassembly.OFX{MessageSets: both, SourceHash: account("999988"), DestinationHash: account("999977"), Amount: "200.00"}},
		{"an amount that is none", ofx1 + "<OFX>" + sonrq + strings.Replace(transfer, "200.00", "two hundred", 1) + "</OFX>", "BANKMSGSRQV1", auth,
			reassembly.OFX{MessageSets: both, SourceHash: account("999988"), DestinationHash: account("999977")}},
	} {
		t.Run(c.name, func(t *testing.T) {
			for range 3 {
				tx := ofxRequest(e, c.body)
				assert.Equal(t, "ofx", tx.Request.Signature.Media)
				assert.Regexp(t, "^[0-9a-f]{16}$", tx.Request.Signature.Keys)
				assert.Equal(t, c.auth, tx.Auth)
				assert.Equal(t, c.operation, tx.Operation)
				require.NotNil(t, tx.OFX)
				assert.Equal(t, c.ofx, *tx.OFX)
			}
		})
	}
	t.Run("under any media type", func(t *testing.T) {
		for _, mime := range []string{"text/xml", "application/octet-stream", "text/plain", "application/x-www-form-urlencoded", ""} {
			for _, body := range []string{ofx1 + "<OFX>" + sonrq + "</OFX>", ofx2 + "<OFX>" + sonrq2 + "</OFX>", "<OFX>" + sonrq + "</OFX>"} {
				tx := request(e, "POST / HTTP/1.1\nContent-Type: "+mime+"\n\n"+body)
				assert.Equal(t, auth, tx.Auth, mime)
				assert.Equal(t, "ofx", tx.Request.Signature.Media)
			}
		}
	})
	t.Run("SGML and XML have the same keys", func(t *testing.T) {
		assert.Equal(t, ofxRequest(e, ofx1+"<OFX><A><B>1<C>2</A></OFX>").Request.Signature.Keys, ofxRequest(e, ofx2+"<OFX><A><B>x</B><C>y</C></A></OFX>").Request.Signature.Keys)
	})
	t.Run("what may go on is not taken", func(t *testing.T) {
		head, body := parse("POST / HTTP/1.1\nContent-Type: application/x-ofx\n\n" + ofx1 + "<OFX><SIGNONMSGSRQV1><SONRQ><USERID>alice<USERPASS>p@")
		body.Whole = false
		var tx reassembly.Transaction
		e.Request(&tx, head, body)
		assert.Empty(t, tx.Auth.PasswordHash)
	})
	t.Run("markup without end", func(t *testing.T) {
		tx := ofxRequest(e, ofx1+strings.Repeat("<A>", 2000)+strings.Repeat("<BANKMSGSRQV1><CODE>0", 500))
		assert.LessOrEqual(t, len(tx.OFX.MessageSets), maxMessageSets)
	})
}

func TestOFXResponses(t *testing.T) {
	e := newExtractor(t, nil)
	const status = "<STATUS><CODE>%<SEVERITY>INFO</STATUS>"
	code := func(c string) string { return strings.Replace(status, "%", c, 1) }
	for _, c := range []struct {
		name, body, code string
		codes            []string
	}{
		{"accepted", "<OFX><SIGNONMSGSRSV1><SONRS>" + code("0") + "<DTSERVER>20261122</SONRS></SIGNONMSGSRSV1><BANKMSGSRSV1><STMTTRNRS><TRNUID>1" + code("2000") + "</STMTTRNRS></BANKMSGSRSV1></OFX>", "0", []string{"0", "2000"}},
		{"rejected", "<OFX><SIGNONMSGSRSV1><SONRS>" + code("15500") + "</SONRS></SIGNONMSGSRSV1></OFX>", "15500", []string{"15500"}},
		{"XML", "<OFX><SIGNONMSGSRSV1><SONRS><STATUS><CODE>15502</CODE><SEVERITY>ERROR</SEVERITY></STATUS></SONRS></SIGNONMSGSRSV1></OFX>", "15502", []string{"15502"}},
		{"no code of a sign-on", "<OFX><BANKMSGSRSV1><STMTTRNRS>" + code("2000") + "</STMTTRNRS></BANKMSGSRSV1></OFX>", "", []string{"2000"}},
		{"a code that is none", "<OFX><SIGNONMSGSRSV1><SONRS>" + code("alice") + "</SONRS></SIGNONMSGSRSV1></OFX>", "", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			tx := response(e, "HTTP/1.1 200 OK\nContent-Type: application/x-ofx\n\n"+ofx1+c.body)
			assert.Equal(t, c.codes, tx.OFX.StatusCodes)
			assert.Equal(t, c.code, tx.Response.Signature.Code)
			assert.Equal(t, "ofx", tx.Response.Signature.Media)
		})
	}
	t.Run("it completes what the request said", func(t *testing.T) {
		tx := ofxRequest(e, ofx1+"<OFX>"+sonrq+transfer+"</OFX>")
		head, body := parse("HTTP/1.1 200 OK\nContent-Type: application/x-ofx\n\n" + ofx1 + "<OFX><SIGNONMSGSRSV1><SONRS>" + code("0") + "<SESSCOOKIE>c456</SONRS></SIGNONMSGSRSV1><BANKMSGSRSV1><INTRATRNRS>" + code("0") +
			"<INTRARS><CURDEF>USD<SRVRTID>1<XFERINFO><BANKACCTFROM><ACCTID>1</BANKACCTFROM><TRNAMT>7</XFERINFO></INTRARS></INTRATRNRS></BANKMSGSRSV1></OFX>")
		e.Response(tx, head, body)
		assert.Equal(t, reassembly.OFX{MessageSets: []string{"SIGNONMSGSRQV1", "BANKMSGSRQV1"}, StatusCodes: []string{"0", "0"}, Currency: "USD",
			SourceHash: e.Hash(KindAccount, []byte("999988")), DestinationHash: e.Hash(KindAccount, []byte("999977")), Amount: "200.00"}, *tx.OFX)
		assert.Equal(t, hashes(e, "c456"), tx.Auth.SessionIssued)
	})
	t.Run("a statement has a currency, but is no transfer", func(t *testing.T) {
		tx := response(e, "HTTP/1.1 200 OK\nContent-Type: application/x-ofx\n\n"+ofx1+"<OFX><BANKMSGSRSV1><STMTTRNRS><STMTRS><CURDEF>EUR<BANKACCTFROM><ACCTID>1</BANKACCTFROM><BANKTRANLIST><STMTTRN><TRNAMT>-5</STMTTRN></BANKTRANLIST></STMTRS></STMTTRNRS></BANKMSGSRSV1></OFX>")
		assert.Equal(t, reassembly.OFX{MessageSets: []string{"BANKMSGSRSV1"}}, *tx.OFX)
	})
}

func FuzzMarkup(f *testing.F) {
	for _, body := range []string{
		ofx1 + "<OFX>" + sonrq + transfer + "</OFX>", ofx2 + "<OFX>" + sonrq2 + "</OFX>", "<OFX><A/><STATUS><CODE>0</OFX>", "<ofx><X",
		`<s:Envelope><s:Body><s:Fault><s:Code><s:Value>s:A</s:Value></s:Code></s:Fault></s:Body></s:Envelope>`,
		`<methodCall><methodName>a</methodName><member><name>password</name><value><string>x</string></value></member></methodCall>`,
		`<a b="c"><d/></a></e>`,
	} {
		f.Add(body)
	}
	e := newExtractor(f, nil)
	f.Fuzz(func(t *testing.T, body string) {
		var first reassembly.Transaction
		for i := range 3 {
			var tx reassembly.Transaction
			head, b := parse(xmlRequest)
			b.Prefix, b.Bytes = []byte(body), int64(len(body))
			e.Request(&tx, head, b)
			e.Response(&tx, head, b)
			require.LessOrEqual(t, len(tx.Operation), maxOperation)
			require.LessOrEqual(t, len(tx.Response.Signature.Code), maxCode)
			if tx.OFX != nil {
				require.LessOrEqual(t, len(tx.OFX.MessageSets), maxMessageSets)
				require.LessOrEqual(t, len(tx.OFX.StatusCodes), maxStatusCodes)
				require.LessOrEqual(t, len(tx.OFX.Amount), maxAmount)
			}
			if i == 0 {
				first = tx
			}
			require.Equal(t, first, tx)
		}
	})
}
