"""The words that fill the templates of `grammar`, by language and slot."""

from collections.abc import Mapping

Words = tuple[str, ...]

# What is heard → how a prompt may ask for it to be spelt.
HOMOPHONES = {"Sara": "Sarah", "Steven": "Stephen", "Mark": "Marc", "Philip": "Phillip"}

_NAMES = (*HOMOPHONES, "Alice", "Robert", "Maria", "David", "Emma", "Peter", "Laura", "George", "Helen", "Thomas", "Julia", "Daniel")
_ONES = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_TEENS = ("ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen")
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_UNOS = ("uno", "dos", "tres", "cuatro", "cinco", "seis", "siete", "ocho", "nueve")
_DIECES = ("diez", "once", "doce", "trece", "catorce", "quince", "dieciséis", "diecisiete", "dieciocho", "diecinueve", "veinte")
_DECENAS = ("treinta", "cuarenta", "cincuenta", "sesenta", "setenta", "ochenta", "noventa")

ENGLISH: Mapping[str, Words] = {
    "name": _NAMES,
    "city": ("London", "Paris", "Berlin", "Madrid", "Boston", "Chicago", "Dublin", "Tokyo", "Rome", "Lisbon"),
    "day": ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"),
    "month": ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"),
    "paper": ("report", "contract", "invoice", "budget", "letter", "order", "document", "message", "project", "agenda"),
    "thing": ("window", "door", "table", "chair", "computer", "camera", "telephone", "lamp", "keyboard", "printer"),
    "things": ("windows", "tables", "chairs", "computers", "cameras", "telephones", "lamps", "keyboards", "printers", "boxes"),
    "color": ("red", "green", "blue", "yellow", "black", "white"),
    "quality": ("new", "old", "small", "big", "long", "short", "expensive", "cheap", "important"),
    "place": ("office", "garden", "kitchen", "hospital", "library", "factory", "school", "restaurant"),
    "act": ("send", "check", "review", "sign", "cancel", "find", "print", "change", "read", "write"),
    "when": ("today", "tomorrow", "next week", "this afternoon", "right now"),
    "hour": (*_ONES[1:], "ten", "eleven", "twelve"),
    "number": (*_ONES[1:], *_TEENS, *_TENS, *(f"{ten} {one}" for ten in _TENS for one in _ONES)),
}

SPANISH: Mapping[str, Words] = {
    "name": _NAMES[len(HOMOPHONES) :],
    "city": ("Londres", "París", "Berlín", "Madrid", "Chicago", "Dublín", "Tokio", "Roma", "Lisboa", "Sevilla"),
    "day": ("lunes", "martes", "miércoles", "jueves", "viernes", "sábado", "domingo"),
    "month": ("enero", "febrero", "marzo", "abril", "mayo", "junio", "julio", "agosto", "septiembre", "octubre", "noviembre", "diciembre"),
    "paper": (
        "el informe",
        "el contrato",
        "la factura",
        "el presupuesto",
        "la carta",
        "el pedido",
        "el documento",
        "el mensaje",
        "el proyecto",
    ),
    "thing": ("la ventana", "la puerta", "la mesa", "la silla", "el ordenador", "la cámara", "el teléfono", "la lámpara", "el teclado"),
    "things": ("ventanas", "mesas", "sillas", "ordenadores", "cámaras", "teléfonos", "lámparas", "teclados", "cajas"),
    "color": ("verde", "azul", "gris", "naranja", "rosa"),
    "quality": ("grande", "importante", "interesante", "urgente", "difícil"),
    "place": ("la oficina", "el jardín", "la cocina", "el hospital", "la biblioteca", "la fábrica", "la escuela", "el restaurante"),
    "act": ("enviar", "comprobar", "revisar", "firmar", "cancelar", "encontrar", "imprimir", "cambiar", "leer", "escribir"),
    "when": ("hoy", "mañana", "la próxima semana", "esta tarde", "ahora mismo"),
    "hour": (*_UNOS[1:], "diez", "once", "doce"),
    "number": (*_UNOS[1:], *_DIECES, *_DECENAS, *(f"{ten} y {one}" for ten in _DECENAS for one in _UNOS[1:])),
}
