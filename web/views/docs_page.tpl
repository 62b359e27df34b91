<!DOCTYPE html>
<html lang="{{language.code}}">
<head>
<meta charset="utf-8">
<title>Nodetill API</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="static/{{files['mark.svg']}}" type="image/svg+xml">
<link rel="stylesheet" href="static/{{files['docs_page.css']}}">
</head>
<body>
<header>
<h1>Nodetill API</h1>
% for paragraph in introduction:
<p>{{!marked(paragraph)}}</p>
% end
<p>For programs: <a href="openapi.json">openapi.json</a>, in OpenAPI 3.1.</p>
</header>
<nav aria-label="Contents">
<h2>Guide</h2>
<ul>
% for anchor, heading in sections.items():
<li><a href="#{{anchor}}">{{heading}}</a></li>
% end
</ul>
% for group, operations in groups.items():
<h2>{{group}}</h2>
<ul>
% for operation in operations:
<li><a href="#{{operation.name}}">{{operation.summary}}</a></li>
% end
</ul>
% end
<h2><a href="#schemas">Schemas</a></h2>
</nav>
<main>
% include("guide.tpl")
% def table(caption, fields):
<div class="scroll">
<table>
<caption>{{caption}}</caption>
% for field in fields:
<tr>
<th scope="row"><code>{{field.name}}</code>{{"" if field.is_required else " (optional)"}}</th>
<td>{{!field.kind}}</td>
<td>{{!marked(field.description)}}</td>
</tr>
% end
</table>
</div>
% end
% for group, operations in groups.items():
<section>
<h2>{{group}}</h2>
% for operation in operations:
<article id="{{operation.name}}">
<h3>{{operation.summary}}</h3>
<p class="call"><code><b>{{operation.method}}</b> {{operation.path}}</code>\\
% if operation.needs_key:
 <span>requires an API key</span>\\
% end
</p>
<p>{{!marked(operation.description)}}</p>
% if operation.parameters:
% table("Parameters", operation.parameters)
% end
% if operation.body:
% table("Body: " + operation.body_kind, operation.body)
% end
<div class="scroll">
<table>
<caption>Responses</caption>
% for response in operation.responses:
<tr>
<th scope="row"><code>{{response.status}}</code></th>
<td>{{!marked(response.description)}}\\
% if response.headers:
 (with {{!", ".join("<code>" + name + "</code>" for name in response.headers)}})\\
% end
</td>
<td>{{!response.kind}}</td>
</tr>
% end
</table>
</div>
</article>
% end
</section>
% end
<section id="schemas">
<h2>Schemas</h2>
% for name, (description, fields, kind) in schemas.items():
<article id="{{name}}">
<h3>{{name}}</h3>
<p>{{!marked(description)}}</p>
% if fields:
% table("Fields" if fields[0].kind else "Values", fields)
% else:
<p>{{!kind}}</p>
% end
</article>
% end
</section>
</main>
</body>
</html>
