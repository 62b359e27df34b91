% chain, outbox = findings["chain"], findings["outbox"]
% said = lambda value, unit="": "unknown" if value is None else f"{value:,}{unit}"
% if problems:
<div class="fault">
<h2>Not all is well</h2>
<ul>
% for problem in problems:
<li>{{problem}}</li>
% end
</ul>
</div>
% end
<dl class="health" aria-label="Health">
<div><dt>Node</dt> <dd>block {{said(chain["node_height"])}}\\
% if chain["last_block_at"]:
<br><small>mined <time datetime="{{chain['last_block_at']}}">{{chain["last_block_at"][11:16]}}</time></small>\\
% end
</dd></div>
<div><dt>Statuses</dt> <dd>at block {{said(chain["height"])}}<br><small>{{said(chain["behind"])}} behind</small></dd></div>
<div><dt>Daemon and feed</dt> <dd>{{"trouble: see above" if complaints else "no complaint"}}<br><small>heard {{said(findings["daemon"]["heartbeat_age"], " s")}} ago</small></dd></div>
<div><dt>Outbox</dt> <dd>{{said(outbox["pending"])}} waiting\\
% if outbox["oldest_age"] is not None:
<br><small>since {{said(outbox["oldest_age"], " s")}}</small>\\
% end
</dd></div>
<div><dt>Prices</dt> <dd>{{said(findings["rates"]["age"], " s")}} old</dd></div>
<div><dt>Addresses</dt> <dd>{{said(findings["addresses"]["free"])}} free</dd></div>
</dl>
