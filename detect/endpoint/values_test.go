package endpoint

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestWordsAreValues(t *testing.T) {
	users := words("/users", 40)
	for _, c := range []struct {
		name  string
		teach func(s *site)
		path  string
		want  string
	}{
		{"two with the same keys are not enough", func(s *site) { s.all(5, "user", users[:2]...) }, users[0], users[0]},
		{"three with the same keys are", func(s *site) { s.all(5, "user", users[:3]...) }, users[0], "/users/{userId}"},
		{"and others with them, from the first request on", func(s *site) { s.all(5, "user", users[:3]...) }, users[9], "/users/{userId}"},
		{"what answers otherwise is none", func(s *site) {
			s.all(5, "user", users[:3]...)
			s.all(1, "hits", "/users/search")
		}, "/users/search", "/users/search"},
		{"nor is what has a continuation of its own", func(s *site) {
			s.all(5, "user", users[:3]...)
			s.all(1, "hits", "/users/search/advanced")
		}, "/users/search/advanced", "/users/search/advanced"},
		{"a value's continuation is the template's", func(s *site) {
			s.all(5, "user", users[:3]...)
			s.all(1, "posts", users[0]+"/posts")
		}, users[7] + "/posts", "/users/{userId}/posts"},
		{"without keys, new ones must keep coming", func(s *site) { s.all(1, "-", users[:11]...) }, users[0], "/users/{userId}"},
		{"as few that come again are words", func(s *site) { s.all(20, "-", users[:7]...) }, users[0], users[0]},
		{"resources have answers of their own each", func(s *site) {
			for i, path := range words("/bank", 30) {
				s.all(20, fmt.Sprint("keys", i), path)
			}
		}, "/bank/aora", "/bank/aora"},
		{"those of an API have the same envelope around them", func(s *site) {
			for i, path := range words("/v1", 12) {
				s.all(3, fmt.Sprint("keys", i), path)
				s.ask(request{method: "POST", path: path, keys: "envelope"})
			}
		}, "/v1/aora", "/v1/aora"},
		{"versions are never values", func(s *site) { s.all(9, "user", "/users/v1", "/users/v2", "/users/v3", "/users/v4") }, "/users/v2", "/users/v2"},
		{"what one client alone has made is none", func(s *site) {
			for range 5 {
				for _, path := range users {
					s.ask(request{client: 1, path: path, keys: "-"})
				}
			}
		}, users[0], users[0]},
		{"a value far more frequent than others is a word", func(s *site) {
			s.all(1, "-", append(users[:3:3], "/users/me")...)
			s.all(80, "-", "/users/me")
			s.all(1, "-", users[3:20]...)
		}, "/users/me", "/users/me"},
		{"two formats with all of an API below each", func(s *site) {
			for i, path := range words("", 4) {
				s.all(5, fmt.Sprint("keys", i), "/export/json"+path, "/export/xml"+path)
			}
		}, "/export/xml/aora", "/export/{exportId}/aora"},
		{"two collections with a list, an item and a count each", func(s *site) {
			for i, path := range words("", 3) {
				s.all(20, fmt.Sprint("keys", i), "/groups/staff"+path, "/groups/guests"+path)
			}
		}, "/groups/guests/aora", "/groups/guests/aora"},
		{"a continuation asked for once, without success, before it was known as one", func(s *site) {
			s.all(5, "user", users[:3]...)
			s.ask(request{path: users[9] + "/posts", status: 500})
			s.all(5, "posts", users[0]+"/posts")
			s.all(20, "user", users[:3]...)
		}, users[9] + "/posts", "/users/{userId}/posts"},
		{"what looks random beside identifiers, when it has answered like them", func(s *site) {
			s.ask(request{path: "/users/vo_bqEbfcpnioekPT", status: 500})
			s.all(9, "user", "/users/17", "/users/18", "/users/19")
			s.ask(request{path: "/users/vo_bqEbfcpnioekPT", keys: "user"})
			s.all(9, "user", "/users/17", "/users/18", "/users/19")
		}, "/users/vo_bqEbfcpnioekPT", "/users/{userId}"},
		{"a word beside identifiers, though it answers like them", func(s *site) {
			s.all(9, "user", "/users/17", "/users/18", "/users/19", "/users/me")
		}, "/users/me", "/users/me"},
		{"the same where its own continuation looks random too", func(s *site) {
			s.ask(request{path: users[9] + "/cards/vo_bqEbfcpnioekPT", keys: "card"})
			for _, path := range users[:3] {
				s.all(9, "user", path)
				s.all(9, "card", path+"/cards/17", path+"/cards/18")
			}
		}, users[9] + "/cards/vo_bqEbfcpnioekPT", "/users/{userId}/cards/{cardId}"},
		{"what answers with keys is no value of a template without", func(s *site) {
			s.all(1, "-", users[:11]...)
			s.all(3, "count", "/users/count")
			s.all(9, "-", users[11:20]...)
		}, "/users/count", "/users/count"},
		{"children with answers of their own, though any two have one in common", func(s *site) {
			for i, path := range words("/protocols", 14) {
				for j, end := range words("/get", 6) {
					keys := fmt.Sprint("keys", i, " ", j)
					if j == i%6 || j == (i+1)%6 {
						keys = "-"
					} else if j == (i+2)%6 {
						keys = fmt.Sprint("common", i/2)
					}
					s.all(2, keys, path+end)
				}
			}
		}, "/protocols/aora/get/aora", "/protocols/aora/get/aora"},
		{"two values in each path, none of them twice", func(s *site) {
			for i := range 30 {
				s.ask(request{client: i, path: words("/api", 30)[i] + words("", 60)[30+i], keys: "place"})
			}
		}, "/api/aora/aora", "/api/{id}/{id2}"},
		{"more versions than any API has", func(s *site) {
			for i := range 40 {
				s.ask(request{client: i, path: fmt.Sprint("/users/v", 1000+7*i), keys: "user"})
			}
		}, "/users/v1007", "/users/{userId}"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSite()
			c.teach(s)
			assert.Equal(t, "GET api.example"+c.want, s.ask(request{client: 99, path: c.path, status: 304}).Name)
		})
	}
}
