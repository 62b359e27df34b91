% chain, outbox = findings["chain"], findings["outbox"]
% text = lambda value, unit="": "unknown" if value is None else f"{value:,}{unit}"
<details id="health-{{'trouble' if problems else 'well'}}" {{"open" if problems else ""}}>
<summary>{{"Something needs your attention" if problems else "All is well"}} · block {{text(chain["node_height"])}} · {{text(findings["addresses"]["free"])}} addresses\\
% if advice:
 · {{len(advice)}} {{"piece" if len(advice) == 1 else "pieces"}} of advice\\
% end
</summary>
<dl class="health" aria-label="Health">
<div><dt>Node</dt> <dd>block {{text(chain["node_height"])}}\\
% if chain["last_block_at"]:
<br><small>mined <time datetime="{{chain['last_block_at']}}">{{chain["last_block_at"][11:16]}}</time></small>\\
% end
</dd></div>
<div><dt>Payments checked</dt> <dd>up to block {{text(chain["height"])}} \\
% if chain["behind"] == 0:
(latest)\\
% else:
<br><small>{{text(chain["behind"])}} behind</small>\\
% end
</dd></div>
<div><dt>Daemon</dt> <dd>{{"problem: see above" if complaints else "running"}}<br><small>last heartbeat {{text(findings["daemon"]["heartbeat_age"], " s")}} ago</small></dd></div>
<div><dt>Emails and webhooks</dt> <dd>\\
% if outbox["pending"] == 0:
all delivered\\
% else:
{{text(outbox["pending"])}} waiting\\
% end
% if outbox["oldest_age"] is not None:
<br><small>for {{text(outbox["oldest_age"], " s")}}</small>\\
% end
</dd></div>
<div><dt>Prices</dt> <dd>{{text(findings["rates"]["age"], " s")}} old</dd></div>
<div><dt>Addresses</dt> <dd>{{text(findings["addresses"]["free"])}} free</dd></div>
</dl>
% if advice:
<p>This works, but could work better:</p>
<ul class="advice">
% for line in advice:
<li>{{line}}</li>
% end
</ul>
% end
</details>
