package traffic

import (
	"fmt"
	"hash/fnv"
	"strings"
)

// call is a request that a program makes.
type call uint8

const (
	callBootstrap call = iota // before a login
	callRegister              // a second one
	callLogin
	callVerify // of a second factor
	callHome   // of a browser without a session: sent to the form
	callAccounts
	callBalance
	callTransfer
	callRefresh
	callLogout
	calls = iota
)

// answer is how the bank answers.
type answer uint8

const (
	answerOK answer = iota
	answerWrong
	answerUnknown // there is no such user
	answerLocked
	answerFactor  // the password was right, a second factor is asked for
	answerDown    // out of order: 503
	answerBroken  // out of order: answered as a wrong password, or 200 with an error
	answerRefused // by the load balancer
	answers       = iota
)

// values are what differs between requests of one kind. Each has a fixed
// length, so that bodies of one kind have one.
type values struct {
	user, password string // 14 and 12 octets
	session        string // 32 octets, presented
	issued         string // 32 octets
	id             string // of a bank account, 8 digits
}

// request is the text of a request: head, empty line, body.
func request(s *software, e *endpoint, c call, v *values) string {
	method, path, kind, body := "GET", "", "", ""
	switch c {
	case callBootstrap:
		path = e.bootstrap[0]
	case callRegister:
		method, path, kind = "POST", e.bootstrap[1], "application/json"
		body = `{"device":"phone","push":true,"locale":"en_GB"}`
	case callHome, callAccounts:
		path = e.accounts
	case callBalance:
		path = e.accounts + "/" + v.id + "/balance"
	case callLogin:
		method, path = "POST", e.login
		kind, body = loginBody(e, v)
	case callVerify:
		method, path, kind, body = "POST", e.verify, "application/json", `{"otp":"123456"}`
	case callTransfer:
		method, path = "POST", e.transfer
		switch e.channel {
		case mobile:
			kind, body = "application/json", fmt.Sprintf(`{"from":"%s","to":"GB33BUKB20201555555555","amount":"120.00","currency":"EUR"}`, v.id)
		case web:
			kind, body = "application/x-www-form-urlencoded", "to=GB33BUKB20201555555555&amount=120.00&from="+v.id
		}
	case callRefresh:
		method, path, kind, body = "POST", e.refresh, "application/json", `{"grant_type":"refresh_token"}`
	case callLogout:
		method, path = "POST", e.logout
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\n", method, path)
	for _, f := range s.fields {
		name, value := f[0], f[1]
		if value == "" {
			value = fieldValue(name, e, method, kind, body, v)
		}
		if value != "" {
			fmt.Fprintf(&b, "%s: %s\r\n", name, value)
		}
	}
	return b.String() + "\r\n" + body
}

func fieldValue(name string, e *endpoint, method, kind, body string, v *values) string {
	switch strings.ToLower(name) {
	case "host":
		return e.host
	case "content-type":
		return kind
	case "content-length":
		if method != "GET" {
			return fmt.Sprint(len(body))
		}
	case "authorization":
		if v.session != "" && e.channel == mobile {
			return "Bearer " + v.session
		}
	case "cookie":
		if v.session != "" && e.channel == web {
			return e.words.cookie + "=" + v.session
		}
	}
	return ""
}

func loginBody(e *endpoint, v *values) (kind, body string) {
	switch e.style {
	case StyleForm:
		return "application/x-www-form-urlencoded", fmt.Sprintf("%s=%s&%s=%s", e.words.user, v.user, e.words.password, v.password)
	case StyleOFX:
		return "application/x-ofx", ofxHead + fmt.Sprintf("<OFX><SIGNONMSGSRQV1><SONRQ><DTCLIENT>20260105120000<USERID>%s<USERPASS>%s<LANGUAGE>ENG<FI><ORG>B<FID>4711</FI><APPID>QWIN<APPVER>2700</SONRQ></SIGNONMSGSRQV1>"+
			"<BANKMSGSRQV1><STMTTRNRQ><TRNUID>1001<STMTRQ><BANKACCTFROM><BANKID>121099999<ACCTID>%s<ACCTTYPE>CHECKING</BANKACCTFROM><INCTRAN><INCLUDE>Y</INCTRAN></STMTRQ></STMTTRNRQ></BANKMSGSRQV1></OFX>\r\n", v.user, v.password, v.id)
	}
	return "application/json", fmt.Sprintf(`{"%s":"%s","%s":"%s","device":{"os":"mobile","trusted":false}}`, e.words.user, v.user, e.words.password, v.password)
}

const ofxHead = "OFXHEADER:100\r\nDATA:OFXSGML\r\nVERSION:102\r\nSECURITY:NONE\r\nENCODING:USASCII\r\nCHARSET:1252\r\nCOMPRESSION:NONE\r\nOLDFILEUID:NONE\r\nNEWFILEUID:NONE\r\n\r\n"

// response is the text of a response.
func response(e *endpoint, c call, a answer, v *values) string {
	switch {
	case a == answerRefused:
		return text("403 Forbidden", "text/plain", "Forbidden\n", "")
	case a == answerDown:
		return text("503 Service Unavailable", "text/html", "<html><body><h1>Service unavailable</h1></body></html>", "")
	case c == callLogin:
		return loginResponse(e, a, v)
	case c == callHome:
		return text("302 Found", "", "", "Location: "+e.login+"\r\n")
	case e.channel == web && c == callLogout:
		return text("302 Found", "", "", "Location: /\r\n")
	case e.channel == web && c == callTransfer:
		return text("302 Found", "", "", "Location: "+e.words.home+"\r\n")
	case e.channel == web:
		return text("200 OK", "text/html; charset=utf-8", "<!doctype html><html><head><title>Bank</title></head><body><form method=\"post\"></form></body></html>", "")
	}
	switch c {
	case callBootstrap:
		return text("200 OK", "application/json", `{"minimum_version":"3.2.0","maintenance":false,"features":["transfers","cards"]}`, "")
	case callRegister:
		return text("200 OK", "application/json", `{"registered":true,"interval":900}`, "")
	case callAccounts:
		return text("200 OK", "application/json", fmt.Sprintf(`{"accounts":[{"id":"%s","type":"current","currency":"EUR"},{"id":"%s","type":"savings","currency":"EUR"}]}`, v.id, v.id), "")
	case callBalance:
		return text("200 OK", "application/json", fmt.Sprintf(`{"id":"%s","balance":"1234.56","currency":"EUR"}`, v.id), "")
	case callTransfer:
		return text("201 Created", "application/json", `{"reference":"T00012345","state":"accepted"}`, "")
	case callRefresh, callVerify:
		return text("200 OK", "application/json", fmt.Sprintf(`{"%s":"%s","expires_in":900}`, e.words.token, v.issued), "")
	}
	return text("204 No Content", "", "", "")
}

func loginResponse(e *endpoint, a answer, v *values) string {
	w := &e.words
	code := map[answer]string{answerOK: w.ok, answerWrong: w.wrong, answerUnknown: w.unknown, answerLocked: w.locked, answerFactor: w.factor, answerBroken: "E900"}[a]
	if a == answerUnknown && w.unknown == "" {
		code = w.wrong
	}
	switch e.style {
	case StyleForm:
		switch a {
		case answerOK:
			return text("302 Found", "", "", fmt.Sprintf("Location: %s\r\nSet-Cookie: %s=%s; Path=/; HttpOnly; Secure\r\n", w.home, w.cookie, v.issued))
		case answerUnknown:
			if w.unknown != "" {
				return text("302 Found", "", "", "Location: "+w.wrongPage+"?unknown=1\r\n")
			}
		}
		return text("302 Found", "", "", "Location: "+w.wrongPage+"?error=1\r\n")
	case StyleOFX:
		const sonrs = "<OFX><SIGNONMSGSRSV1><SONRS><STATUS><CODE>%s<SEVERITY>%s</STATUS><DTSERVER>20260105120000<LANGUAGE>ENG</SONRS></SIGNONMSGSRSV1>"
		status, severity, rest := "15500", "ERROR", ""
		switch a {
		case answerLocked:
			status = "15502"
		case answerBroken:
			status = "2000"
		case answerOK:
			status, severity = "0", "INFO"
			rest = fmt.Sprintf("<BANKMSGSRSV1><STMTTRNRS><TRNUID>1001<STATUS><CODE>0<SEVERITY>INFO</STATUS><STMTRS><CURDEF>EUR<BANKACCTFROM><BANKID>121099999<ACCTID>%s<ACCTTYPE>CHECKING</BANKACCTFROM></STMTRS></STMTTRNRS></BANKMSGSRSV1>", v.id)
		}
		return text("200 OK", "application/x-ofx", ofxHead+fmt.Sprintf(sonrs, status, severity)+rest+"</OFX>\r\n", "")
	}
	if e.style == StyleAlways {
		return alwaysResponse(e, a, code, v)
	}
	if a == answerOK {
		return text("200 OK", "application/json", fmt.Sprintf(`{"%s":"%s","token_type":"Bearer","expires_in":900}`, w.token, v.issued), "")
	}
	status := "401 Unauthorized"
	switch a {
	case answerLocked:
		status = "423 Locked"
	case answerFactor:
		status = "403 Forbidden"
	}
	return text(status, "application/json", fmt.Sprintf(`{"%s":"%s","message":"Log-in is not possible."}`, w.code, code), "")
}

// alwaysResponse says in a body how a login ended, as one of these do it: a code
// beside data that only success has; a truth value, and a token that is null
// without success; a code within an object; a code, and a cookie of the device
// whatever the outcome.
func alwaysResponse(e *endpoint, a answer, code string, v *values) string {
	w := &e.words
	body, fields := "", ""
	switch ok := a == answerOK; e.always() {
	case alwaysTruth:
		token, message := "null", `"Log-in is not possible."`
		if ok {
			token, message = `"`+v.issued+`"`, "null"
		}
		body = fmt.Sprintf(`{"success":%t,"%s":%s,"message":%s,"user":null}`, ok, w.token, token, message)
		if a == answerFactor {
			body = fmt.Sprintf(`{"success":false,"%s":null,"message":"Confirm.","%s":"%s"}`, w.token, w.code, code)
		}
	case alwaysNested:
		body = fmt.Sprintf(`{"status":{"%s":"%s","text":"Log-in is not possible."},"session":{}}`, w.code, code)
		if ok {
			body = fmt.Sprintf(`{"status":{"%s":"%s","text":""},"session":{"%s":"%s"}}`, w.code, code, w.token, v.issued)
		}
	default:
		if e.always() == alwaysDevice {
			fields = "Set-Cookie: device=" + v.id + "; Path=/; Secure\r\n"
		}
		body = fmt.Sprintf(`{"%s":"%s","message":"Log-in is not possible."}`, w.code, code)
		if ok {
			body = fmt.Sprintf(`{"%s":"%s","data":{"%s":"%s","expires_in":900}}`, w.code, code, w.token, v.issued)
		}
	}
	return text("200 OK", "application/json", body, fields)
}

// How an endpoint that always answers 200 says in its body how a login ended.
const (
	alwaysCode = iota
	alwaysTruth
	alwaysNested
	alwaysDevice
)

func (e *endpoint) always() int {
	h := fnv.New32a()
	h.Write([]byte(e.host + e.login + e.words.code))
	return int(h.Sum32() % 4)
}

func text(status, kind, body, fields string) string {
	if kind != "" {
		fields += "Content-Type: " + kind + "\r\n"
	}
	return fmt.Sprintf("HTTP/1.1 %s\r\nServer: web\r\n%sContent-Length: %d\r\n\r\n%s", status, fields, len(body), body)
}
