% node_ok = findings["chain"]["node_height"] is not None and not complaints and not any("daemon" in each for each in problems)
<section class="card first-day" aria-labelledby="first-day-title">
<h2 id="first-day-title">Three steps to the first payment</h2>
<ol>
<li class="{{'ticked' if node_ok else ''}}"><b>{{"✓ " if node_ok else ""}}Connect bitcoind.</b> \\
% if node_ok:
Nodetill reads bitcoind, at block {{f'{findings["chain"]["node_height"]:,}'}}.\\
% else:
Not yet: <code>{{command}} doctor</code> names the cause and the cure.\\
% end
</li>
<li class="{{'ticked' if sellers else ''}}"><b>{{"✓ " if sellers else ""}}Add a shop.</b> \\
% if sellers:
Done: {{", ".join(sellers[:3])}}{{"…" if len(sellers) > 3 else ""}}.\\
% else:
<code>{{command}} seller add SHOP</code> prints its API key.\\
% end
</li>
<li><b>Ask for the first payment.</b> Press <a href="{{root}}operator/new">New request</a>, and open the page of its link. A shop's program makes the request by the API, with the shop's API key in the place of KEY:
<pre tabindex="0">curl {{public_url}}/api/v1/payments \
  -H 'Authorization: Bearer KEY' \
  -H 'Content-Type: application/json' \
  -d '{"amount_fiat": "1.00", "currency": "EUR"}'</pre>
The answer has the page's address as <code>checkout_url</code>. All fields are at <a href="{{root}}docs">/docs</a>.</li>
</ol>
</section>
