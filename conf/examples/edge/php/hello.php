<?php
header("Content-Type: text/plain; charset=utf-8");
echo "Hello, ", htmlspecialchars($_GET["name"] ?? "nobody"), ", from PHP ", PHP_MAJOR_VERSION, " over ", ($_SERVER["HTTPS"] ?? "") ? "https" : "http", "\n";
