% chain, outbox = findings["chain"], findings["outbox"]
% text = lambda value, unit="": "unknown" if value is None else f"{value:,}{unit}"
% if problems:
<div class="fault">
<h2>Problems</h2>
<ul>
% for problem in problems:
<li>{{problem}}</li>
% end
</ul>
</div>
% end
<dl class="health" aria-label="Health">
<div><dt>Node</dt> <dd>block {{text(chain["node_height"])}}\\
% if chain["last_block_at"]:
<br><small>mined <time datetime="{{chain['last_block_at']}}">{{chain["last_block_at"][11:16]}}</time></small>\\
% end
</dd></div>
<div><dt>Statuses</dt> <dd>at block {{text(chain["height"])}}<br><small>{{text(chain["behind"])}} behind</small></dd></div>
<div><dt>Daemon and feed</dt> <dd>{{"problem: see above" if complaints else "no problem"}}<br><small>heartbeat {{text(findings["daemon"]["heartbeat_age"], " s")}} ago</small></dd></div>
<div><dt>Outbox</dt> <dd>{{text(outbox["pending"])}} waiting\\
% if outbox["oldest_age"] is not None:
<br><small>for {{text(outbox["oldest_age"], " s")}}</small>\\
% end
</dd></div>
<div><dt>Prices</dt> <dd>{{text(findings["rates"]["age"], " s")}} old</dd></div>
<div><dt>Addresses</dt> <dd>{{text(findings["addresses"]["free"])}} free</dd></div>
</dl>
