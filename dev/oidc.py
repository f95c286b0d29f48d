"""Tokens of a running OpenID Connect provider, as a client gets them that its user sends back from the sign-in page:
oidc.py ISSUER AUDIENCE SUBJECT"""

import json
import sys
import urllib.error
import urllib.parse
import urllib.request

issuer, audience, subject = sys.argv[1:]
back = "http://127.0.0.1/back"


class Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None


opener = urllib.request.build_opener(Stay)
about = json.load(opener.open(issuer + "/.well-known/openid-configuration"))
asked = {"response_type": "code", "client_id": audience, "redirect_uri": back, "scope": "openid", "state": "s"}
page = about["authorization_endpoint"] + "?" + urllib.parse.urlencode(asked)
try:
    opener.open(page, urllib.parse.urlencode({"sub": subject}).encode())
    raise SystemExit("the provider does not send its user back")
except urllib.error.HTTPError as answer:
    where = answer.headers.get("Location") or sys.exit(f"{answer.code}: {answer.read().decode()}")
code = urllib.parse.parse_qs(urllib.parse.urlparse(where).query)["code"][0]
handed = {"grant_type": "authorization_code", "code": code, "redirect_uri": back, "client_id": audience,
          "client_secret": "any"}
answer = json.load(opener.open(about["token_endpoint"], urllib.parse.urlencode(handed).encode()))
print(answer["id_token"])
