package content

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/reassembly"
)

const (
	jsonRequest = "POST /x HTTP/1.1\nHost: h\nContent-Type: application/json\n\n"
	xmlRequest  = "POST /x HTTP/1.1\nHost: h\nContent-Type: text/xml\n\n"
)

func TestOperations(t *testing.T) {
	e := newExtractor(t, nil)
	const soap = `<soap:Envelope xmlns:soap="http://schemas.xmlsoap.org/soap/envelope/"><soap:Header/><soap:Body><m:GetBalance xmlns:m="urn:bank"><m:id>1</m:id></m:GetBalance></soap:Body></soap:Envelope>`
	for _, c := range []struct{ name, text, want string }{
		{"GraphQL by its operationName", jsonRequest + `{"operationName":"Login","variables":{},"query":"mutation Login($u:String!){login(user:$u){token}}"}`, "Login"},
		{"GraphQL by the name in its document", jsonRequest + `{"query":"# a comment\nquery  GetAccounts($n: Int = 5) @live { accounts(first: $n) { id } }"}`, "GetAccounts"},
		{"GraphQL by its first field", jsonRequest + `{"query":"{ accounts { id } }"}`, "accounts"},
		{"GraphQL by its first field behind an alias", jsonRequest + `{"query":"mutation { a1: login(user: \"x\") { token } b: logout }"}`, "login"},
		{"GraphQL whose operationName is null", jsonRequest + `{"operationName":null,"query":"subscription OnPay{pay{id}}"}`, "OnPay"},
		{"GraphQL with a fragment first", jsonRequest + `{"query":"fragment F on User { id } query Me { me { ...F } }"}`, "Me"},
		{"an operation called query", jsonRequest + `{"query":"query query{x}"}`, "query"},
		{"a batch", jsonRequest + `[{"operationName":"A","query":"query A{a}"},{"operationName":"B","query":"query B{b}"},{"operationName":"A","query":"query A{a}"}]`, "A,B"},
		{"a persisted query with its name", jsonRequest + `{"operationName":"GetX","extensions":{"persistedQuery":{"version":1,"sha256Hash":"` + strings.Repeat("0123456789abcdef", 4) + `"}}}`, "GetX"},
		{"a persisted query without", jsonRequest + `{"extensions":{"persistedQuery":{"version":1,"sha256Hash":"` + strings.Repeat("0123456789abcdef", 4) + `"}}}`, "0123456789abcdef"},
		{"a document by itself", "POST / HTTP/1.1\nContent-Type: application/graphql; charset=utf-8\n\nquery Me { me { id } }", "Me"},
		{"in the query", "GET /graphql?query=query%20Me%20%7Bme%7Bid%7D%7D&variables=%7B%7D HTTP/1.1\nHost: h", "Me"},
		{"in the query by name", "GET /graphql?operationName=GetX&extensions=%7B%7D HTTP/1.1\nHost: h", "GetX"},
		{"as multipart", "POST / HTTP/1.1\nContent-Type: multipart/form-data; boundary=x\n\n" + crlf("--x\nContent-Disposition: form-data; name=\"operations\"\n\n"+
			`{"query":"mutation Up($f: Upload!){up(f:$f)}","variables":{"f":null}}`+"\n--x\nContent-Disposition: form-data; name=\"map\"\n\n{\"0\":[\"variables.f\"]}\n--x--\n"), "Up"},
		{"a search is no GraphQL", jsonRequest + `{"query":"shoes, black"}`, ""},
		{"a search in the query neither", "GET /search?query=shoes HTTP/1.1\nHost: h", ""},
		{"a name that is none", jsonRequest + `{"operationName":"alice@bank.example","query":"shoes"}`, ""},

		{"JSON-RPC 2.0", jsonRequest + `{"jsonrpc":"2.0","method":"account.login","params":{"user":"x"},"id":1}`, "account.login"},
		{"JSON-RPC 1.0", jsonRequest + `{"method":"getBalance","params":["x"],"id":7}`, "getBalance"},
		{"JSON-RPC with slashes", jsonRequest + `{"jsonrpc":"2.0","method":"tools/call","id":1}`, "tools/call"},
		{"a batch of JSON-RPC", jsonRequest + `[{"jsonrpc":"2.0","method":"a","id":1},{"jsonrpc":"2.0","method":"b","id":2}]`, "a,b"},
		{"a method that is no call", jsonRequest + `{"method":"card","amount":5}`, ""},
		{"a method further down", jsonRequest + `{"jsonrpc":"2.0","payment":{"method":"card"}}`, ""},
		{"a method that is data", jsonRequest + `{"jsonrpc":"2.0","method":"4111111111111111"}`, ""},

		{"SOAP by what is in its body", xmlRequest + soap, "GetBalance"},
		{"SOAP by its action", "POST / HTTP/1.1\nSOAPAction: \"http://bank.example/IService/Login\"\nContent-Type: text/xml\n\n" + soap, "Login"},
		{"SOAP by an action that is a URN", "POST / HTTP/1.1\nsoapaction: urn:Login\nContent-Type: text/xml\n\n" + soap, "Login"},
		{"SOAP 1.2 by the parameter of its type", "POST / HTTP/1.1\nContent-Type: application/soap+xml; charset=utf-8; action=\"urn:bank#Login\"\n\n" + soap, "Login"},
		{"SOAP whose action is empty", "POST / HTTP/1.1\nSOAPAction: \"\"\nContent-Type: text/xml\n\n" + soap, "GetBalance"},
		{"SOAP with attachments", "POST / HTTP/1.1\nContent-Type: multipart/related; type=\"text/xml\"; boundary=x\n\n" + crlf("--x\nContent-Type: text/xml\n\n"+soap+"\n--x--"), "GetBalance"},
		{"XML-RPC", xmlRequest + `<?xml version="1.0"?><methodCall><methodName>wp.getUsersBlogs</methodName><params/></methodCall>`, "wp.getUsersBlogs"},
		{"XML that calls nothing", xmlRequest + `<login><user>x</user></login>`, ""},
		{"a form that calls nothing", "POST / HTTP/1.1\nContent-Type: application/x-www-form-urlencoded\n\na=b", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			for range 3 { // from the third time on from tables
				assert.Equal(t, c.want, request(e, c.text).Operation)
			}
		})
	}
	t.Run("one request knows nothing of the last", func(t *testing.T) {
		request(e, jsonRequest+`{"operationName":"Login","query":"mutation Login{a}"}`)
		assert.Empty(t, request(e, jsonRequest+`{"user":"x"}`).Operation)
	})
}

func crlf(text string) string { return strings.ReplaceAll(text, "\n", "\r\n") }

func TestCredentialsOfCalls(t *testing.T) {
	e := newExtractor(t, nil)
	user, pass := e.Hash(KindAccount, []byte("alice")), e.Hash(KindPassword, []byte("p@ss"))
	auth := func(carrier, userField, passwordField string) reassembly.Auth {
		return reassembly.Auth{Carrier: carrier, UserField: userField, PasswordField: passwordField, PasswordFields: 1, UserHash: user, PasswordHash: pass}
	}
	for _, c := range []struct {
		name, text string
		want       reassembly.Auth
	}{
		{"GraphQL variables", jsonRequest + `{"operationName":"Login","query":"mutation Login($i:I!){login(i:$i){t}}","variables":{"i":{"email":"alice","password":"p@ss"}}}`, auth("json", "email", "password")},
		{"GraphQL arguments in the document", jsonRequest + `{"query":"mutation { login(username: \"alice\", password: \"p@ss\") { token } }"}`, auth("json", "username", "password")},
		{"GraphQL arguments in the query", "GET /graphql?query=" + "mutation%7Blogin(username:%22alice%22,password:%22p%40ss%22)%7Bt%7D%7D HTTP/1.1\nHost: h", auth("query", "username", "password")},
		{"JSON-RPC parameters", jsonRequest + `{"jsonrpc":"2.0","method":"login","params":{"username":"alice","password":"p@ss"},"id":1}`, auth("json", "username", "password")},
		{"a JSON part", "POST / HTTP/1.1\nContent-Type: multipart/form-data; boundary=x\n\n" + crlf("--x\nContent-Disposition: form-data; name=\"request\"\nContent-Type: application/json\n\n"+
			`{"username":"alice","password":"p@ss"}`+"\n--x--"), auth("form", "username", "password")},
		{"XML elements", xmlRequest + `<?xml version="1.0"?><login><username>Alice</username><password><![CDATA[p@]]>s<!-- -->s</password></login>`, auth("xml", "username", "password")},
		{"XML attributes", xmlRequest + `<login user='alice' pwd="p&#64;ss"/>`, auth("xml", "user", "pwd")},
		{"XML under another type", "POST / HTTP/1.1\nContent-Type: text/plain\n\n" + `<?xml version="1.0"?><login><user>alice</user><pin>p@ss</pin></login>`, auth("xml", "user", "pin")},
		{"XML without end tags", xmlRequest + `<login><username>alice<password>p@ss</login>`, auth("xml", "username", "password")},
		{"WS-Security", xmlRequest + `<s:Envelope><s:Header><wsse:Security><wsse:UsernameToken><wsse:Username>alice</wsse:Username>` +
			`<wsse:Password Type="http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-username-token-profile-1.0#PasswordText">p@ss</wsse:Password></wsse:UsernameToken></wsse:Security></s:Header><s:Body><Pay/></s:Body></s:Envelope>`,
			auth("xml", "wsse:Username", "wsse:Password")},
		{"WS-Security with a digest, which differs each time", xmlRequest + `<s:Envelope><s:Header><UsernameToken><Username>alice</Username>` +
			`<Password Type="…#PasswordDigest">b64==</Password></UsernameToken></s:Header><s:Body><Pay/></s:Body></s:Envelope>`,
			reassembly.Auth{Carrier: "xml", UserField: "Username", PasswordField: "Password", PasswordFields: 1, UserHash: user}},
		{"XML-RPC members", xmlRequest + `<methodCall><methodName>login</methodName><params><param><value><struct><member><name>username</name><value>alice</value></member>` +
			`<member><name>password</name><value><string>p@ss</string></value></member></struct></value></param></params></methodCall>`, auth("xml", "username", "password")},
		{"an empty password is one", xmlRequest + `<login><user>alice</user><password></password></login>`,
			reassembly.Auth{Carrier: "xml", UserField: "user", PasswordField: "password", PasswordFields: 1, UserHash: user}},
		{"so is an empty element", xmlRequest + `<login><user>alice</user><password/></login>`,
			reassembly.Auth{Carrier: "xml", UserField: "user", PasswordField: "password", PasswordFields: 1, UserHash: user}},
	} {
		t.Run(c.name, func(t *testing.T) {
			for range 3 {
				assert.Equal(t, c.want, request(e, c.text).Auth)
			}
		})
	}
	t.Run("a text that may go on is not hashed", func(t *testing.T) {
		head, body := parse(xmlRequest + `<login><user>alice</user><password>p@`)
		body.Whole = false
		var tx reassembly.Transaction
		e.Request(&tx, head, body)
		assert.Equal(t, reassembly.Auth{Carrier: "xml", UserField: "user", PasswordField: "password", PasswordFields: 1, UserHash: user}, tx.Auth)
	})
	t.Run("of several passwords none hides another", func(t *testing.T) {
		for _, format := range []string{
			xmlRequest + `<l><user>u</user><password>x</password><password>%</password></l>`,
			jsonRequest + `{"query":"mutation{a:login(user:\"u\",password:\"x\"){t} b:login(user:\"u\",password:\"%\"){t}}"}`,
		} {
			one := request(e, strings.Replace(format, "%", "1", 1)).Auth.PasswordHash
			require.NotEmpty(t, one)
			assert.NotEqual(t, one, request(e, strings.Replace(format, "%", "2", 1)).Auth.PasswordHash)
		}
	})
}

func TestSignaturesOfXML(t *testing.T) {
	e := newExtractor(t, nil)
	sign := func(body string) reassembly.Signature {
		return response(e, "HTTP/1.1 200 OK\nContent-Type: application/xml\n\n"+body).Response.Signature
	}
	base := sign(`<a><b x="1">t</b><c/></a>`)
	require.Regexp(t, "^[0-9a-f]{16}$", base.Keys)
	assert.Equal(t, "xml", base.Media)
	assert.Equal(t, base.Keys, sign(`<?xml version="1.0"?><!-- y --><a xmlns="z"><b x='2'>u</b><c>v</c><b x="">w</b></a>`).Keys)
	assert.Equal(t, base.Keys, sign(`<a><c/><b x="1"/></a>`).Keys, "in another order")
	assert.NotEqual(t, base.Order, sign(`<a><c/><b x="1"/></a>`).Order)
	assert.NotEqual(t, base.Keys, sign(`<a><b>t</b><c/></a>`).Keys, "an attribute less")
	assert.NotEqual(t, base.Keys, sign(`<a><b x="1"><c/></b></a>`).Keys, "nested otherwise")
	t.Run("a billion laughs are one", func(t *testing.T) {
		tx := response(e, "HTTP/1.1 200 OK\nContent-Type: application/xml\n\n"+
			`<!DOCTYPE l [<!ENTITY a "lol"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;"><!ENTITY cc "&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;">]><l><token>&cc;</token></l>`)
		assert.Equal(t, hashes(e, "&cc;"), tx.Auth.SessionIssued)
	})
	t.Run("what is too deep is not looked at", func(t *testing.T) {
		deep := strings.Repeat("<a>", maxElements) + "<b/>"
		assert.Equal(t, sign(deep).Keys, sign(deep+strings.Repeat("<c>", 1000)).Keys)
	})
}

func TestErrorCodesOfXML(t *testing.T) {
	e := newExtractor(t, nil)
	for _, c := range []struct{ name, body, want string }{
		{"an element", `<r><errorCode>AUTH_001</errorCode></r>`, "AUTH_001"},
		{"an attribute of the root", `<r status="fail"><x>1</x></r>`, "fail"},
		{"SOAP 1.1", `<s:Envelope><s:Body><s:Fault><faultcode>s:Client.InvalidLogin</faultcode><faultstring>no</faultstring></s:Fault></s:Body></s:Envelope>`, "Client.InvalidLogin"},
		{"SOAP 1.1 with a better one in its detail", `<s:Envelope><s:Body><s:Fault><faultcode>s:Server</faultcode><detail><e><errorCode>LOCKED</errorCode></e></detail></s:Fault></s:Body></s:Envelope>`, "LOCKED"},
		{"SOAP 1.2", `<s:Envelope><s:Body><s:Fault><s:Code><s:Value>s:Sender</s:Value><s:Subcode><s:Value>wsse:FailedAuthentication</s:Value></s:Subcode></s:Code></s:Fault></s:Body></s:Envelope>`, "FailedAuthentication"},
		{"SOAP that succeeds", `<s:Envelope><s:Body><LoginResponse><success>true</success></LoginResponse></s:Body></s:Envelope>`, "true"},
		{"text", `<r><error>User alice not found</error></r>`, ""},
		{"a number that may be a one-time code", `<r><code>483920</code></r>`, ""},
		{"too deep", `<r><a><b><c><code>deep</code></c></b></a></r>`, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			assert.Equal(t, c.want, response(e, "HTTP/1.1 200 OK\nContent-Type: text/xml\n\n"+c.body).Response.Signature.Code)
		})
	}
}

func TestMultipartAsServersTakeIt(t *testing.T) {
	e := newExtractor(t, nil)
	pass := e.Hash(KindPassword, []byte("p@ss"))
	const field = "Content-Disposition: form-data; name=\"password\"\n\np@ss"
	for _, c := range []struct{ name, boundary, body, want string }{
		{"plainly", "x", crlf("--x\n" + field + "\n--x--\n"), pass},
		{"with a preamble and an epilogue", "x", crlf("--y is no boundary\n--x\n" + field + "\n--x--\nepilogue --x"), pass},
		{"without CR", "x", "--x\n" + field + "\n--x--\n", pass},
		{"white space behind the boundary", "x", crlf("--x \t\n" + field + "\n--x-- \n"), pass},
		{"quotes around the boundary", `"a b"`, crlf("--a b\n" + field + "\n--a b--\n"), pass},
		{"a boundary longer than the RFC's", strings.Repeat("x", 200), crlf("--" + strings.Repeat("x", 200) + "\n" + field + "\n--" + strings.Repeat("x", 200) + "--"), pass},
		{"a boundary too long", strings.Repeat("x", 257), crlf("--" + strings.Repeat("x", 257) + "\n" + field + "\n--" + strings.Repeat("x", 257) + "--"), ""},
		{"a boundary that begins a longer line", "x", crlf("--x\n" + "Content-Disposition: form-data; name=\"password\"\n\np@ss" + "\n--x--\n--xyz\n"), pass},
		{"a value that looks like a boundary", "x", crlf("--x\nContent-Disposition: form-data; name=\"password\"\n\na --x b\n--xy\n--x--"), e.Hash(KindPassword, []byte("a --x b\r\n--xy"))},
		{"without a boundary", "", crlf("--x\n" + field + "\n--x--"), ""},
		{"more header fields", "x", crlf("--x\nContent-Type: text/plain\n" + field + "\n--x--"), pass},
		{"a file, which is not looked at", "x", crlf("--x\nContent-Disposition: form-data; name=\"password\"; filename=\"\"\n\np@ss\n--x--"), ""},
		{"a file with an extended name", "x", crlf("--x\nContent-Disposition: form-data; name=password; filename*=UTF-8''a\n\np@ss\n--x--"), ""},
		{"behind the end", "x", crlf("--x--\n" + field + "\n--x--"), ""},
		{"nested", "x", crlf("--x\nContent-Type: multipart/mixed; boundary=y\n\n--y\n" + field + "\n--y--\n--x--"), pass},
		{"nested too deep", "x", crlf("--x\nContent-Type: multipart/mixed; boundary=y\n\n--y\nContent-Type: multipart/mixed; boundary=z\n\n--z\nContent-Type: multipart/mixed; boundary=w\n\n--w\n" + field + "\n--w--\n--z--\n--y--\n--x--"), ""},
		{"the last part without an end", "x", crlf("--x\n" + field), pass},
	} {
		t.Run(c.name, func(t *testing.T) {
			tx := request(e, "POST / HTTP/1.1\nContent-Type: multipart/form-data; boundary="+c.boundary+"\n\n"+c.body)
			assert.Equal(t, c.want, tx.Auth.PasswordHash)
		})
	}
}

func FuzzDocument(f *testing.F) {
	f.Add(`mutation { a: login(username: "alice", password: """p""") { token } }`)
	f.Add("query Me($a: Int = 5) @x { me { ...F } } # c\nfragment F on User { id }")
	f.Add(`{"\`)
	e := newExtractor(f, nil)
	f.Fuzz(func(t *testing.T, document string) {
		s := graphqlScanner{data: []byte(document)}
		octets := 0
		for {
			before := s.pos
			token, text := s.next()
			if octets += len(text); token == graphqlEnd {
				break
			}
			require.Greater(t, s.pos, before)
		}
		require.LessOrEqual(t, octets, len(document))
		e.documents = e.documents[:0]
		c := credentials{call: new(call)}
		e.keys.reset()
		name := e.walkDocument(value{octets: []byte(document)}, &c)
		require.Contains(t, document, string(name))
	})
}

func FuzzMultipart(f *testing.F) {
	f.Add("x", crlf("--x\nContent-Disposition: form-data; name=\"password\"\n\np\n--x--"))
	f.Add("x", "--x\nContent-Type: multipart/mixed; boundary=y\n\n--y\n\n--y--\n--x--")
	f.Add("x", "--x")
	f.Fuzz(func(t *testing.T, boundary, body string) {
		s := newMultipartScanner([]byte(body), []byte("multipart/form-data; boundary="+boundary), true)
		octets := 0
		for {
			p, ok := s.next()
			if !ok {
				break
			}
			require.False(t, p.cut)
			octets += len(p.name) + len(p.content)
		}
		require.LessOrEqual(t, octets, len(body))
	})
}
